"""A bound feed whose messages are numbered: what a PUB socket loses, its subscribers see.

The socket is an XPUB: a PUB that also hears of new subscriptions. A subscriber that does not read
costs at most `queue` messages; what does not fit is dropped for that one alone, which sees the hole
in the generations.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from typing import TYPE_CHECKING, Final

import zmq
import zmq.asyncio

from dstmrouter.errors import DstmError
from dstmrouter.zmqctl.auth import KeyGate
from dstmrouter.zmqctl.endpoint import bind, close_bound
from dstmrouter.zmqctl.messages import Heartbeat, encode

if TYPE_CHECKING:
    from dstmrouter.zmqctl.keys import CurveServer
    from dstmrouter.zmqctl.messages import Message

WELCOME_S: Final = 0.05  # new subscribers are greeted together


class NumberedFeed:
    """Publishes on one endpoint; tells the last generation to who subscribes, and in intervals.

    Make it inside the running event loop and keep `run()` running. Whoever sends counts
    `generation` up before it first suspends. Raises ConfigError for an endpoint that is not allowed
    or served already and SystemCallError when it cannot be bound.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        epoch: bytes,
        curve: CurveServer | None,
        heartbeat_s: float,
        queue: int,
    ) -> None:
        self.epoch = epoch
        self.generation = 0
        self.endpoint = ""  # until bound
        self.counters: collections.Counter[str] = collections.Counter()
        self._heartbeat_s = heartbeat_s
        self._welcome = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = zmq.asyncio.Context() if curve else zmq.asyncio.Context.instance()
        self._gate = KeyGate(self._context, curve.allowed) if curve else None
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # tell of every subscriber, not of the first
        self._socket.setsockopt(zmq.SNDHWM, queue)
        try:
            bind(self._socket, endpoint, curve=curve)
        except DstmError:
            self.close()
            raise
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    async def send(self, message: Message) -> None:
        """Hand `message` to ZeroMQ for all subscribers, at once."""
        await self._socket.send(encode(message), zmq.NOBLOCK, copy=False)

    async def run(self) -> None:
        """Send heartbeats and greet new subscribers until cancelled or closed."""
        async with asyncio.TaskGroup() as group:
            self._tasks.add(group.create_task(self._send_heartbeats()))
            self._tasks.add(group.create_task(self._hear_subscriptions()))

    def close(self) -> None:
        """Stop publishing, which ends `run`. May be called again."""
        for task in self._tasks:
            task.cancel()
        close_bound(self._socket, self.endpoint)
        if self._gate is not None:
            self._gate.close()
            self._gate = None
            self._context.term()

    async def _send_heartbeats(self) -> None:
        interval_ms = round(self._heartbeat_s * 1000)
        while True:
            self._welcome.clear()
            beat = Heartbeat(epoch=self.epoch, generation=self.generation, interval_ms=interval_ms)
            await self._socket.send(encode(beat), zmq.NOBLOCK)
            self.counters["heartbeats"] += 1
            await asyncio.sleep(min(WELCOME_S, self._heartbeat_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._welcome.wait()

    async def _hear_subscriptions(self) -> None:
        while True:
            event = await self._socket.recv()
            if event[:1] == b"\x01":
                self.counters["subscriptions"] += 1
                self._welcome.set()
            await asyncio.sleep(0)
