"""The compiled rings against those of `XskRings`: the same kernel is at their other ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.io.compiled import xskrings
from dstmrouter.io.umem import DESC, Umem
from dstmrouter.jit.functions import U, address
from lab.ringport import RingPort

if TYPE_CHECKING:
    import numpy.typing as npt

SLOTS: Final = 8  # the fill ring has twice as many
FRAMES: Final = 40
STEP: Final = 4
TURNS: Final = st.tuples(  # arrive, receive, send, complete
    st.integers(0, 12), st.integers(0, 10), st.integers(0, 9), st.booleans()
)


class Plain:
    """A port and its pool, by the methods that define what is to be done."""

    def __init__(self, start: int) -> None:
        self.umem = Umem(FRAMES)
        self.port = RingPort(self.umem, "port", slots=SLOTS, start=start)

    def restock(self) -> None:
        self.umem.pool.give(self.port.reclaim())
        if self.port.refill_room() >= STEP:
            frames = self.umem.pool.take(self.port.refill_room())
            assert self.port.refill(frames) == len(frames)

    def pass_on(self, limit: int) -> int:
        """Send what was received; how many."""
        descs = self.port.receive(limit)
        taken = self.port.transmit(descs)
        self.umem.pool.give(descs["addr"][taken:])
        return len(descs)

    def free(self) -> list[int]:
        pool = self.umem.pool
        return sorted(pool.stack[: len(pool)].tolist())

    def missing(self) -> int:
        return FRAMES - len(self.umem.pool) - self.port.held().total


class Compiled(Plain):
    """The same with compiled functions."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.sockets = xskrings.describe([self.port.places()])
        self.record = xskrings.describe_pool(self.umem.pool)
        self.socket, self.pool = address(self.sockets), address(self.record)
        self.frames: npt.NDArray[np.uint64] = np.zeros((2, 2 * SLOTS), np.uint64)

    def restock(self) -> None:
        xskrings.reclaim(self.socket, self.pool)
        xskrings.refill(self.socket, self.pool, U(STEP))

    def pass_on(self, limit: int) -> int:
        at, length = self.frames
        n = int(xskrings.receive(self.socket, U(limit), address(at), address(length)))
        xskrings.open_tx(self.socket)
        for start, size in zip(at[:n], length[:n], strict=True):
            if not xskrings.send(self.socket, start, size):
                xskrings.give(self.pool, start)
        xskrings.close_tx(self.socket)
        return n


@given(st.lists(TURNS, max_size=12), st.sampled_from([0, 5, (1 << 32) - 3]))
def test_packets_pass_as_they_do_without(
    turns: list[tuple[int, int, int, bool]], start: int
) -> None:
    ways = Plain(start), Compiled(start)
    for number, (arriving, limit, sending, completing) in enumerate(turns):
        received = set()
        for way in ways:
            way.restock()
            way.port.arrive([b"%d.%d" % (number, n) for n in range(arriving)])
            received.add(way.pass_on(limit))
            way.port.send(sending)
            if completing:
                way.port.complete()
            assert way.missing() == 0
        assert len(received) == 1
        plain, compiled = ways
        assert plain.port.held() == compiled.port.held()
        assert plain.port.sent == compiled.port.sent
        assert plain.free() == compiled.free()


def test_nothing_is_handed_over_before_the_end() -> None:
    way = Compiled(0)
    xskrings.open_tx(way.socket)
    assert xskrings.send(way.socket, U(4096 + 256), U(60))
    assert way.port.held().tx == 0
    xskrings.close_tx(way.socket)
    assert way.port.held().tx == 1


def test_more_completions_than_frames_stay_where_they_are() -> None:
    """A kernel that tells a frame twice does not make us write behind the pool."""
    way = Compiled(0)
    way.umem.pool.take(3)
    way.port._completion.submit(np.arange(5, dtype=np.uint64) * 2048)
    xskrings.reclaim(way.socket, way.pool)
    assert len(way.umem.pool) == FRAMES
    assert way.port.held().completion == 2


@pytest.mark.parametrize("room", [STEP - 1, STEP])
def test_a_few_free_entries_are_not_worth_a_refill(room: int) -> None:
    way = Compiled(0)
    way.port.refill(way.umem.pool.take(2 * SLOTS - room))
    xskrings.refill(way.socket, way.pool, U(STEP))
    assert way.port.refill_room() == (0 if room == STEP else room)


def test_descriptors_have_no_options() -> None:
    way = Compiled(0)
    for _ in range(2):  # the second time over entries that were used
        for _ in range(SLOTS):
            xskrings.open_tx(way.socket)
            xskrings.send(way.socket, U(2048), U(1))
            xskrings.close_tx(way.socket)
        taken = way.port._tx.take(SLOTS)
        assert taken.tolist() == np.array([(2048, 1, 0)] * SLOTS, DESC).tolist()
