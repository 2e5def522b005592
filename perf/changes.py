"""Who changes bindings as fast as the router takes them: a pusher, and a publisher of a feed.

Every change gives an address to another client, so a row is written, published and retired each
time. Nothing counts before the router has said that all its workers use it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from dstmrouter.binding import BindingColumns, full_address_columns
from dstmrouter.zmqctl import ControlServer, FeedPublisher, LeasePusher
from dstmrouter.zmqctl.fields import EPOCH_OCTETS
from perf.gateway import POOL, TEP6
from perf.packets import client6_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUTER: Final = "perf"
SOURCE: Final = "perf"
LIFETIME_S: Final = 86_400
ACK_S: Final = 10.0
LATE_S: Final = 0.1
_OTHER_CLIENT: Final = np.uint64(1)  # first octet of the interface identifier


def bindings(count: int, owner: int) -> BindingColumns:
    """The first `count` addresses; `owner` 0 or 1 tells which of two clients has each."""
    ipv4 = np.uint32(int(POOL.network_address)) + np.arange(count, dtype=np.uint32)
    client6 = client6_of(ipv4)
    client6[:, 1] += np.uint64(owner) * _OTHER_CLIENT
    return full_address_columns(ipv4, client6, lifetime_s=LIFETIME_S, tep6=[TEP6])


class Changes:
    """An endless sequence of sets of at most `delta` changes of `count` bindings.

    `rate` is how many changes/s there should be at most.
    """

    def __init__(self, count: int, delta: int, rate: float | None) -> None:
        self.owners = (bindings(count, 0), bindings(count, 1))
        self._delta = delta
        self._turn, self._at = 1, 0
        self._gap_s = 0.0 if rate is None else 1 / rate
        self._due = float("inf")  # until somebody asks when the first are

    def wait_s(self) -> float:
        """Seconds until the next changes are due; what is late is not made up for."""
        now = time.monotonic()
        self._due = now if self._due == float("inf") else max(self._due, now - LATE_S)
        return max(0.0, self._due - now)

    def next(self) -> BindingColumns:
        """The next changes: all get the one client, then all get the other."""
        if self._at >= len(self.owners[0]):
            self._at, self._turn = 0, 1 - self._turn
        part = self.owners[self._turn].take(slice(self._at, self._at + self._delta))
        self._at += self._delta
        self._due += self._gap_s * len(part)
        return part

    def push_once(self, endpoint: str) -> None:
        """Give all bindings to the first client."""
        with LeasePusher(endpoint, source=SOURCE) as pusher:
            result = pusher.put(self.owners[0])
        assert result.rows == len(self.owners[0]), result


class Background:
    """Makes changes in a thread while the block runs; then `rate` is changes/s.

    `work` calls `begin` when it is connected, and returns how many it has made when `stop` is set.
    Neither the block nor the time begins before that.
    """

    def __init__(self, work: Work) -> None:
        self.rate = 0.0
        self.stop = threading.Event()
        self._begun = threading.Event()
        self._began = 0.0
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def begin(self) -> None:
        """The first change comes now."""
        self._began = time.monotonic()
        self._begun.set()

    def _run(self) -> None:
        try:
            self.rate = self._work(self) / (time.monotonic() - self._began)
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._begun.set()

    def __enter__(self) -> Background:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


Work: TypeAlias = "Callable[[Background], int]"
"""What changes bindings until it is told to stop."""


def push(endpoint: str, changes: Changes) -> Work:
    """Push to the router, one set after the other."""

    def work(background: Background) -> int:
        done = 0
        with LeasePusher(endpoint, source=SOURCE) as pusher:
            background.begin()
            while not background.stop.wait(changes.wait_s()):
                result = pusher.put(changes.next())
                assert not result.refused, result
                done += result.applied
        return done

    return work


def publish(directory: Path, changes: Changes) -> Work:
    """Be a server: publish on the feed that the router follows, at most one set unacknowledged."""

    async def run(background: Background) -> int:
        control = ControlServer(f"ipc://{directory}/feed-control", curve=None, handlers={})
        feed = FeedPublisher(
            epoch=os.urandom(EPOCH_OCTETS),
            feed=f"ipc://{directory}/feed",
            control=control,
            curve=None,
            snapshot=lambda: (feed.generation, changes.owners[0]),
            heartbeat_s=1.0,
        )
        async with asyncio.TaskGroup() as tasks:
            served = [tasks.create_task(control.run()), tasks.create_task(feed.run())]
            await _acknowledged(feed, feed.generation)
            background.begin()
            done = await _publish_all(feed, changes, background.stop)
            for task in served:
                task.cancel()
        feed.close()
        control.close()
        return done

    return lambda background: asyncio.run(run(background))


async def _publish_all(feed: FeedPublisher, changes: Changes, stop: threading.Event) -> int:
    done, before = 0, feed.generation
    while not stop.is_set():
        await asyncio.sleep(changes.wait_s())
        part = changes.next()
        after = await feed.publish(part)
        await _acknowledged(feed, before)
        before = after
        done += len(part)
    await _acknowledged(feed, before)
    return done


async def _acknowledged(feed: FeedPublisher, generation: int) -> None:
    missing = await feed.wait_acked(generation, {ROUTER}, ACK_S)
    assert not missing, f"generation {generation} is not acknowledged"
