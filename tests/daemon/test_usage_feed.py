"""The feed of a supervisor whose workers are not started: the test counts, and hears it all."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
import zmq
import zmq.asyncio

from dstmrouter.binding import address4
from dstmrouter.config.router import UsageFeedSection
from dstmrouter.daemon import usage_feed as module
from dstmrouter.daemon.usage_feed import UsageFeed
from dstmrouter.zmqctl import KeyPair, write_keys
from dstmrouter.zmqctl.messages import Heartbeat, Message, UsageChanged, UsageEnded, decode
from tests.daemon.test_router_control import asking, bind
from tests.daemon.test_usage_control import FIRST, carry
from tests.zmqctl.sockets import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address
    from pathlib import Path

    import pytest

    from dstmrouter.daemon.router import Supervisor
    from tests.daemon.test_router_control import Ask


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """A feed, and a subscriber of it."""

    feed: UsageFeed
    socket: zmq.asyncio.Socket

    async def message(self) -> Message:
        return decode(await self.socket.recv())

    async def greeted(self) -> None:
        assert isinstance(await self.message(), Heartbeat)


@contextlib.contextmanager
def heard(router: Supervisor, tmp_path: Path, interval_s: float = 3600.0) -> Iterator[Heard]:
    section = UsageFeedSection(bind=f"ipc://{tmp_path}/usage", interval_s=interval_s)
    feed = router.usage_feed = UsageFeed(router, section, None)
    with contextlib.closing(feed), zmq.asyncio.Context.instance().socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(feed.endpoint)
        yield Heard(feed, socket)


def told(message: Message) -> dict[IPv4Address, list[int]]:
    assert isinstance(message, UsageChanged | UsageEnded)
    columns = message.bindings
    rows = zip(columns.ipv4, columns.usage.tolist(), strict=True)
    return {address4(ipv4): usage for ipv4, usage in rows}


def test_what_has_become_more_is_told_with_all_that_was_counted(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        with heard(router, tmp_path) as listening:
            feed = listening.feed
            await bind(router, 3)
            async with running(feed):
                await listening.greeted()
                await ask("usage.set", on=True)
                carry(router, 1, [1, 20, 0, 0])
                carry(router, 3, [0, 0, 1, 40], worker=1)
                before = time.time_ns() // 1_000_000
                await feed.tell_changed()
                message = await listening.message()
                assert told(message) == {FIRST: [1, 20, 0, 0], FIRST + 2: [0, 0, 1, 40]}
                assert isinstance(message, UsageChanged)
                assert (message.epoch, message.generation) == (router.epoch, 1)
                assert before <= message.at_ms <= time.time_ns() // 1_000_000
                await feed.tell_changed()
                carry(router, 3, [0, 0, 1, 40])
                await feed.tell_changed()
                message = await listening.message()
                assert told(message) == {FIRST + 2: [0, 0, 2, 80]}
                page = await ask("usage.bindings")
                assert (page["epoch"], page["generation"]) == (router.epoch, 2)

    asking(tmp_path, scenario)


def test_messages_have_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    monkeypatch.setattr(module, "LOOKED_AT", 8)

    async def scenario(router: Supervisor, ask: Ask) -> None:
        with heard(router, tmp_path) as listening:
            await bind(router, 10)
            async with running(listening.feed):
                await listening.greeted()
                await ask("usage.set", on=True)
                for number in range(1, 11):
                    carry(router, number, [number, 0, 0, 0])
                await listening.feed.tell_changed()
                messages = [await listening.message() for _ in range(4)]
                assert [len(told(message)) for message in messages] == [3, 3, 2, 2]
                router.writer.expire(router.now_s() + 100)
                router.writer.reclaim()
                await listening.feed.tell_ended()
                ended = [await listening.message() for _ in range(3)]
                assert [len(told(message)) for message in ended] == [3, 3, 3]
                assert [m.after for m in ended if isinstance(m, UsageEnded)] == [0, 3, 6]
                numbers = [getattr(m, "generation", 0) for m in [*messages, *ended]]
                assert numbers == list(range(1, 8))

    asking(tmp_path, scenario)


def test_what_ends_is_told_once_with_its_last_counts(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        with heard(router, tmp_path) as listening:
            await bind(router, 2)
            async with running(listening.feed):
                await listening.greeted()
                await ask("usage.set", on=True)
                carry(router, 2, [7, 140, 0, 0])
                router.writer.expire(router.now_s() + 100)
                await listening.feed.tell_ended()  # a worker could still count
                router.writer.reclaim()
                await listening.feed.tell_ended()
                await listening.feed.tell_ended()
                message = await listening.message()
                assert isinstance(message, UsageEnded)
                assert told(message) == {FIRST + 1: [7, 140, 0, 0]}
                assert (message.after, message.generation) == (0, 1)
                assert listening.feed.generation == 1

    asking(tmp_path, scenario)


def test_a_binding_that_comes_while_others_are_looked_at_is_told_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        with heard(router, tmp_path) as listening:
            await bind(router, 3)
            await ask("usage.set", on=True)
            for number in (1, 2, 3):
                carry(router, number, [number, 0, 0, 0])
            slots = router.writer.bound_slots()
            monkeypatch.setattr(router.writer, "bound_slots", lambda: slots)
            router.writer.expire(router.now_s() + 100)  # two of them are gone by now
            async with running(listening.feed):
                await listening.greeted()
                await listening.feed.tell_changed()
                assert told(await listening.message()) == {FIRST: [1, 0, 0, 0]}

    asking(tmp_path, scenario)


def test_both_go_on_by_themselves(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        with heard(router, tmp_path, interval_s=0.1) as listening:
            await bind(router, 2)
            await ask("usage.set", on=True)
            async with running(listening.feed):
                await listening.greeted()
                for count in (1, 2):
                    carry(router, 2, [1, 0, 0, 0])
                    while isinstance(message := await listening.message(), Heartbeat):
                        pass
                    assert told(message) == {FIRST + 1: [count, 0, 0, 0]}
                router.writer.expire(router.now_s() + 100)
                router.writer.reclaim()
                while not isinstance(message := await listening.message(), UsageEnded):
                    pass
                assert told(message) == {FIRST + 1: [2, 0, 0, 0]}

    asking(tmp_path, scenario)


def test_nothing_is_looked_at_before_counting_was_on(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, _: Ask) -> None:
        with heard(router, tmp_path) as listening:
            await bind(router, 2)
            router.shared.tables.usage.values[:, :100] = np.uint64(7)
            await listening.feed.tell_changed()
            assert listening.feed.generation == 0

    asking(tmp_path, scenario)


def test_keys_of_the_control_socket_are_those_of_the_feed(tmp_path: Path) -> None:
    pair, noc = KeyPair.generate(), KeyPair.generate()
    write_keys(pair, tmp_path / "key")
    more = f"""
[curve]
secret_key_file = "{tmp_path}/key"
[[curve.allowed]]
name = "noc"
public_key = "{noc.public}"
"""

    async def scenario(router: Supervisor, _: Ask) -> None:
        assert router._curve_of("ipc:///a") is None
        curve = router._curve_of("tcp://[::1]:9")
        assert curve is not None
        assert (curve.keys, dict(curve.allowed)) == (pair, {noc.public: "noc"})

    asking(tmp_path, scenario, more)
