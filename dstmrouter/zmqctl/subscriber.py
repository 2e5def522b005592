"""A router's sockets for one feed: SUB for changes, DEALER for snapshots and acknowledgements.

All decisions are in `follower.py`; this is the only place that gives it bytes and the time.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
import zmq
import zmq.asyncio

from dstmrouter.errors import DecodeError, DstmError
from dstmrouter.zmqctl.endpoint import check_endpoint, connect
from dstmrouter.zmqctl.follower import Follower
from dstmrouter.zmqctl.messages import Message, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.zmqctl.keys import CurveClient
    from dstmrouter.zmqctl.update import Apply

FEED_QUEUE: Final = 1_000  # messages ZeroMQ may hold for us; a hole leads to a snapshot
CONTROL_QUEUE: Final = 16  # messages for a server that is away
REOPEN_S: Final = 30.0  # of silence, and at least that many heartbeats of the server
REOPEN_INTERVALS: Final = 6
WATCH_S: Final = 1.0  # between looks at whether the feed went silent, for the log

_log = structlog.get_logger(__name__)


class FeedFollower:
    """Keeps the bindings of `source` in step with one server, whichever side restarts.

    Servers that share a store are one source, with a feed each.

    `name` is the router's (with CURVE, the name the server gave our key). `apply` is called with
    one update at a time; a DstmError of it leads to a new snapshot. Raises ConfigError for an
    endpoint that is not allowed.
    """

    def __init__(
        self,
        *,
        name: str,
        source: str,
        feed: str,
        control: str,
        curve: CurveClient | None,
        apply: Apply,
    ) -> None:
        check_endpoint(feed, curve=curve is not None)
        check_endpoint(control, curve=curve is not None)
        self.counters: collections.Counter[str] = collections.Counter()
        self._endpoints = {"feed": feed, "control": control}
        self._curve = curve
        self._apply = apply
        self._follower = Follower(router=name, source=source, server=feed, now=time.monotonic())
        self._log = _log.bind(source=source, feed=feed)
        self._changed = (asyncio.Event(), asyncio.Event())  # for the sender, for the applier

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._apply_updates())
            tasks.create_task(self._stay_connected())
            tasks.create_task(self._tell_of_silence())

    async def _stay_connected(self) -> None:
        """ZeroMQ reconnects by itself, except where a handshake failed: then we must."""
        while True:
            with contextlib.suppress(TimeoutError):
                await self._connection()
            self.counters["reconnects"] += 1
            self._log.warning("silent for too long, opening new connections")

    async def _connection(self) -> None:
        """Follow over one pair of sockets; TimeoutError when the feed is silent."""
        context = zmq.asyncio.Context.instance()
        with context.socket(zmq.SUB) as feed, context.socket(zmq.DEALER) as control:
            feed.setsockopt(zmq.RCVHWM, FEED_QUEUE)
            feed.setsockopt(zmq.SUBSCRIBE, b"")
            control.setsockopt(zmq.SNDHWM, CONTROL_QUEUE)
            connect(feed, self._endpoints["feed"], curve=self._curve)
            connect(control, self._endpoints["control"], curve=self._curve)
            async with asyncio.timeout(REOPEN_S) as silence, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive_feed(feed, silence))
                tasks.create_task(self._receive(control, self._follower.on_control))
                tasks.create_task(self._send_due(control))

    def state(self) -> dict[str, Any]:
        """Return endpoints, epoch, generation, staleness, rows and counters as plain values."""
        state = self._follower.state(time.monotonic())
        counters = state["counters"] | dict(self.counters)
        return self._endpoints | state | {"counters": counters}

    async def _receive_feed(self, feed: zmq.asyncio.Socket, silence: asyncio.Timeout) -> None:
        def take(message: Message, now: float) -> None:
            self._follower.on_feed(message, now)
            patience_s = max(REOPEN_S, REOPEN_INTERVALS * self._follower.interval_s)
            silence.reschedule(asyncio.get_running_loop().time() + patience_s)

        await self._receive(feed, take)

    async def _receive(
        self, socket: zmq.asyncio.Socket, take: Callable[[Message, float], None]
    ) -> None:
        while True:
            frames = await socket.recv_multipart()
            try:
                take(decode(b"".join(frames)), time.monotonic())
            except DecodeError as error:
                self.counters["malformed"] += 1
                self._log.warning("malformed message from the server", error=str(error))
            self._wake()
            await asyncio.sleep(0)  # recv does not yield while messages wait: others must run too

    async def _apply_updates(self) -> None:
        _, changed = self._changed
        while True:
            update = self._follower.next_update()
            if update is None:
                await changed.wait()
                changed.clear()
                continue
            try:
                self._follower.applied(await self._apply(update))
            except DstmError as error:
                self._log.error("update not applied", error=str(error))
                self._follower.failed(time.monotonic())
            self._wake()

    async def _send_due(self, control: zmq.asyncio.Socket) -> None:
        """Send what is due. Waits while a server that is away has CONTROL_QUEUE to read already."""
        changed, _ = self._changed
        while True:
            changed.clear()
            for message in self._follower.messages(time.monotonic()):
                await control.send(encode(message))
            wait_s = max(0.0, self._follower.next_timer() - time.monotonic())
            # not wait_for: until Python 3.12 it may swallow a cancellation (cpython issue 86296)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()

    async def _tell_of_silence(self) -> None:
        was_stale = False
        while True:
            if self._follower.stale(time.monotonic()) != was_stale:
                was_stale = not was_stale
                self._log.warning("feed is silent" if was_stale else "feed is back")
            await asyncio.sleep(WATCH_S)

    def _wake(self) -> None:
        for event in self._changed:
            event.set()
