"""The server's side of the feed: numbered changes to every router, snapshots to whoever asks.

The feed is an XPUB socket: a PUB that also hears of new subscriptions. A router that does not read
costs at most QUEUE_MAX messages; what does not fit is dropped for that router alone, which sees the
hole in the generations and fetches a snapshot.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog
import zmq
import zmq.asyncio

from dstmrouter.errors import DstmError
from dstmrouter.zmqctl.auth import KeyGate
from dstmrouter.zmqctl.columns import split_rows
from dstmrouter.zmqctl.endpoint import bind, close_bound
from dstmrouter.zmqctl.messages import Ack, Alive, Delta, Heartbeat, SnapshotRequest, encode
from dstmrouter.zmqctl.roster import RouterRoster, RouterState
from dstmrouter.zmqctl.snapshots import MAKE_INTERVAL_S, UNSHARED, SnapshotShelf

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dstmrouter.binding import BindingColumns
    from dstmrouter.zmqctl.control import ControlServer
    from dstmrouter.zmqctl.keys import CurveServer
    from dstmrouter.zmqctl.peer import Peer
    from dstmrouter.zmqctl.snapshots import StoreStamp

DELTA_ROWS: Final = 4_096  # changes of one generation at most: 123 kB
QUEUE_MAX: Final = 1_000  # messages waiting for one router: 123 MB at the very most, shared by all
LATE_MAX: Final = 1_024  # routers whose snapshot request waits for MAKE_INTERVAL_S
WELCOME_S: Final = 0.05  # new subscribers are greeted together

_log = structlog.get_logger(__name__)


class FeedPublisher:
    """Publishes binding changes on `feed` and serves snapshots and acknowledgements on `control`.

    Make it inside the running event loop and keep `run()` running. `snapshot` returns the present
    `generation` and every binding at it. `publish` takes its number before it first suspends: the
    caller changes what `snapshot` shows and then publishes without awaiting anything in between.
    """

    def __init__(
        self,
        *,
        epoch: bytes,
        feed: str,
        control: ControlServer,
        curve: CurveServer | None,
        snapshot: Callable[[], tuple[int, BindingColumns]],
        heartbeat_s: float = 5.0,
    ) -> None:
        self.epoch = epoch
        self.generation = 0
        self.endpoint = ""  # until bound
        self.counters: collections.Counter[str] = collections.Counter()
        self._heartbeat_s = heartbeat_s
        self._control = control
        self._stamp = UNSHARED
        self._shelf = SnapshotShelf(epoch, snapshot)
        self._roster = RouterRoster(epoch)
        self._late: dict[Peer, SnapshotRequest] = {}
        self._welcome = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = zmq.asyncio.Context() if curve else zmq.asyncio.Context.instance()
        self._gate = KeyGate(self._context, curve.allowed) if curve else None
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # tell of every subscriber, not of the first
        self._socket.setsockopt(zmq.SNDHWM, QUEUE_MAX)
        try:
            bind(self._socket, feed, curve=curve)
        except DstmError:
            self.close()
            raise
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        control.listen(SnapshotRequest, self._on_snapshot_request)
        control.listen(Ack, self._on_ack)
        control.listen(Alive, self._on_alive)

    def share(self, stamp: StoreStamp) -> None:
        """Stamp everything from now on; before the first message."""
        self._stamp = self._shelf.stamp = stamp

    async def publish(self, changes: BindingColumns) -> int:
        """Send `changes` (any number) to all routers; returns the generation that has them all."""
        deltas = []
        for part in split_rows(changes, DELTA_ROWS):
            self.generation += 1
            deltas.append(
                Delta(
                    epoch=self.epoch,
                    generation=self.generation,
                    bindings=part,
                    store=self._stamp.store,
                    version=self._stamp.version(),
                )
            )
        last = self.generation
        for delta in deltas:
            await self._socket.send(encode(delta), zmq.NOBLOCK, copy=False)
            self.counters["deltas"] += 1
        return last

    async def wait_acked(
        self, generation: int, routers: Collection[str], timeout_s: float
    ) -> set[str]:
        """Wait until all `routers` forward by `generation`; returns those that still do not."""
        return await self._roster.wait_acked(generation, routers, timeout_s)

    def routers(self) -> list[RouterState]:
        """Return every router heard of in this run, by name."""
        return self._roster.states(time.monotonic())

    async def run(self) -> None:
        """Send heartbeats and greet new subscribers until cancelled or closed."""
        async with asyncio.TaskGroup() as group:
            self._tasks.add(group.create_task(self._send_heartbeats()))
            self._tasks.add(group.create_task(self._hear_subscriptions()))
            self._tasks.add(group.create_task(self._answer_late()))

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

    async def _on_snapshot_request(self, peer: Peer, request: SnapshotRequest) -> None:
        if not self._speaks(peer, request.router):
            return
        now = time.monotonic()
        part = self._shelf.part(request, now)
        if part is not None:
            self.counters["snapshot-parts"] += await self._control.send(peer, part)
        elif self._shelf.too_soon(request, now) and len(self._late) < LATE_MAX:
            self._late[peer] = request
        else:
            self.counters["snapshot-requests-ignored"] += 1

    async def _answer_late(self) -> None:
        """Try requests again that came right after a snapshot which was too old for them."""
        while True:
            await asyncio.sleep(MAKE_INTERVAL_S)
            late, self._late = self._late, {}
            for peer, request in late.items():
                await self._on_snapshot_request(peer, request)

    async def _on_ack(self, peer: Peer, ack: Ack) -> None:
        if self._speaks(peer, ack.router):
            if ack.refused:
                _log.warning("router refused bindings", router=ack.router, refused=ack.refused)
            self._roster.acked(ack, time.monotonic())

    async def _on_alive(self, peer: Peer, alive: Alive) -> None:
        if self._speaks(peer, alive.router):
            self._roster.alive(alive, time.monotonic())

    def _speaks(self, peer: Peer, router: str) -> bool:
        if peer.may_speak_for(router):
            return True
        self.counters["impostors"] += 1
        _log.warning("message in another router's name", key=peer.user, router=router)
        return False
