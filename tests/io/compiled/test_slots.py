"""What tests/io/test_slotring.py does not show of the compiled way."""

from __future__ import annotations

import numpy as np

from dstmrouter.io.slotring import SlotRing
from dstmrouter.io.umem import DESC
from tests.io.test_slotring import PACKETS, SLOT_SIZE, SLOTS, Kernel, descs


def ring() -> tuple[Kernel, SlotRing]:
    memory = bytearray(SLOTS * SLOT_SIZE)
    slots = SlotRing(memory, SLOT_SIZE, PACKETS)
    slots.use_compiled()
    return Kernel(memory), slots


def test_a_full_ring_takes_what_has_become_free() -> None:
    kernel, slots = ring()
    assert [slots.submit(descs(0, 5)), slots.submit(descs(5, 5))] == [5, 3]
    assert slots.submit(descs(8, 5)) == 0
    first = kernel.send(2)
    assert slots.submit(descs(8, 5)) == 2
    assert len(first + kernel.send()) == 10


def test_every_second_descriptor_is_as_good_as_a_column() -> None:
    kernel, slots = ring()
    sparse = np.zeros(6, DESC)
    sparse[::2] = descs(0, 3)
    assert slots.submit(sparse[::2]) == 3
    assert [len(packet) for packet in kernel.send()] == [60, 61, 62]
