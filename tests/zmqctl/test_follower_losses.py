"""One follower and servers that come and go; whatever is lost between them, it ends in step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.zmqctl.follower import Follower
from dstmrouter.zmqctl.messages import Delta, Heartbeat, SnapshotRequest
from dstmrouter.zmqctl.snapshots import SnapshotShelf
from dstmrouter.zmqctl.update import ApplyResult
from tests.zmqctl.samples import FIRST4, puts


class Server:
    """The other side without sockets: its bindings, and what it says."""

    def __init__(self, epoch: bytes) -> None:
        self.epoch = epoch
        self.generation = 0
        self.shelf = SnapshotShelf(epoch, lambda: (self.generation, puts(0, self.generation)))

    def change(self) -> Delta:
        self.generation += 1
        bindings = puts(self.generation - 1, self.generation)
        return Delta(epoch=self.epoch, generation=self.generation, bindings=bindings)


class LossyPair:
    """One server after the other and one router, joined by hand; `table` is what the router has."""

    def __init__(self) -> None:
        self.now = 0.0
        self.table: set[int] = set()
        self._seen: set[int] = set()
        self._runs = 0
        self.router = Follower(router="r1", source="s1", now=0.0)
        self.restart()

    def restart(self) -> None:
        self._runs += 1
        self.server = Server(bytes(15) + bytes([self._runs]))

    def change(self) -> None:
        self.router.on_feed(self.server.change(), self.now)

    def lose_change(self) -> None:
        self.server.change()

    def beat(self) -> None:
        self.router.on_feed(
            Heartbeat(epoch=self.server.epoch, generation=self.server.generation, interval_ms=5000),
            self.now,
        )

    def serve(self) -> None:
        requests = [m for m in self.router.messages(self.now) if isinstance(m, SnapshotRequest)]
        for request in requests:
            answer = self.server.shelf.part(request, self.now)
            if answer is not None:
                self.router.on_control(answer, self.now)

    def lose_requests(self) -> None:
        self.router.messages(self.now)

    def apply(self) -> None:
        while (update := self.router.next_update()) is not None:
            rows = set((update.columns.ipv4 - FIRST4).tolist())
            self._seen = rows if update.first else self._seen | rows
            self.table |= rows
            if update.replace and update.last:
                self.table &= self._seen
            self.router.applied(ApplyResult(applied=len(rows), refused=0, rows=len(self.table)))


STEPS = ["restart", "change", "lose_change", "beat", "serve", "lose_requests", "apply"]


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_whatever_is_lost_the_router_catches_up(steps: list[str]) -> None:
    pair = LossyPair()
    for step in [*steps, *["beat", "serve", "apply"] * 4]:
        pair.now += 5.0
        getattr(pair, step)()
    assert pair.table == set(range(pair.server.generation))
    assert pair.router.in_use == (pair.server.epoch, pair.server.generation)
