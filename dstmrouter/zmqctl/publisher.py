"""The server's side of the feed: numbered changes to every router, snapshots to whoever asks.

A router that does not read costs at most QUEUE_MAX messages; what does not fit is dropped for that
router alone, which sees the hole in the generations and fetches a snapshot.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.zmqctl.columns import split_rows
from dstmrouter.zmqctl.messages import Ack, Alive, Delta, SnapshotRequest
from dstmrouter.zmqctl.numbered_feed import NumberedFeed
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

_log = structlog.get_logger(__name__)


class FeedPublisher(NumberedFeed):
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
        super().__init__(feed, epoch=epoch, curve=curve, heartbeat_s=heartbeat_s, queue=QUEUE_MAX)
        self._control = control
        self._stamp = UNSHARED
        self._shelf = SnapshotShelf(epoch, snapshot)
        self._roster = RouterRoster(epoch)
        self._late: dict[Peer, SnapshotRequest] = {}
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
            await self.send(delta)
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
        """Send heartbeats, greet new subscribers and answer routers until cancelled or closed."""
        async with asyncio.TaskGroup() as group:
            self._tasks.add(group.create_task(super().run()))
            self._tasks.add(group.create_task(self._answer_late()))

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
