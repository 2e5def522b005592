from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.io.port import RingFill
from dstmrouter.io.umem import Umem
from lab.ringport import RingPort

SLOTS = 8  # the fill ring has twice as many


@pytest.mark.parametrize("start", [0, 5, (1 << 32) - 3])
def test_every_frame_is_somewhere(start: int) -> None:
    umem = Umem(32)
    port = RingPort(umem, "port", slots=SLOTS, start=start)
    assert port.held() == RingFill(fill=0, rx=0, tx=0, completion=0)
    assert port.refill(umem.pool.take(20)) == port.refill_room() + 16 == 16
    port.arrive([b"packet"] * 3)
    assert port.held() == RingFill(fill=13, rx=3, tx=0, completion=0)
    descs = port.receive(2)
    assert descs["len"].tolist() == [6, 6]
    assert port.held() == RingFill(fill=13, rx=1, tx=0, completion=0)
    assert port.transmit(descs) == 2
    port.send(1)
    assert port.held() == RingFill(fill=13, rx=1, tx=2, completion=0)
    port.complete()
    assert port.held() == RingFill(fill=13, rx=1, tx=1, completion=1)
    assert port.reclaim().tolist() == descs["addr"][:1].tolist()
    assert port.held().total == 15
    assert port.sent == [b"packet"]


def test_a_frame_that_the_kernel_took_and_did_not_fill_counts_as_refilled() -> None:
    umem = Umem(32)
    port = RingPort(umem, "port", slots=SLOTS)
    port.refill(umem.pool.take(16))
    port.arrive([b"packet"] * (SLOTS + 1))
    assert port.lost == 1
    assert port.held() == RingFill(fill=16 - SLOTS, rx=SLOTS, tx=0, completion=0)


def test_places_are_those_of_the_rings() -> None:
    umem = Umem(32)
    port = RingPort(umem, "port", slots=SLOTS, start=7)
    port.refill(np.arange(3, dtype=np.uint64))
    assert [place.slots for place in port.places()] == [SLOTS, SLOTS, 2 * SLOTS, 2 * SLOTS]
    assert len({place.entries for place in port.places()}) == 4
    assert (port.rings.fill.produced, port.rings.fill.consumed) == (10, 7)
