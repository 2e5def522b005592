from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.io.slotring import COPIED_MAX, SlotRing
from dstmrouter.io.uapi_packet import (
    SLOT,
    TP_STATUS_AVAILABLE,
    TP_STATUS_SEND_REQUEST,
    VNET_HDR_LEN,
)
from dstmrouter.io.umem import DESC, Descs

SLOT_SIZE = 2048
SLOTS = 8
PACKETS = bytearray(range(256)) * 64


def descs(first: int, n: int) -> Descs:
    made = np.zeros(n, DESC)
    made["addr"] = np.arange(first, first + n) * 7
    made["len"] = 60 + np.arange(first, first + n)
    made["len"][5::6] = 300
    return made


class Kernel:
    """Takes requested slots in order, as tpacket_snd() does."""

    def __init__(self, memory: bytearray) -> None:
        self.memory = memory
        self.slots = np.ndarray((SLOTS,), SLOT, memory, 0, (SLOT_SIZE,))
        self.next = 0

    def send(self, limit: int = SLOTS) -> list[bytes]:
        sent: list[bytes] = []
        while len(sent) < limit and self.slots["status"][self.next] == TP_STATUS_SEND_REQUEST:
            slot, start = self.slots[self.next], self.next * SLOT_SIZE + SLOT.itemsize
            length = int(slot["len"]) - VNET_HDR_LEN
            assert int(slot["hdr_len"]) == (length if length <= COPIED_MAX else 0)
            sent.append(bytes(self.memory[start : start + length]))
            self.slots["status"][self.next] = TP_STATUS_AVAILABLE
            self.next = (self.next + 1) % SLOTS
        return sent


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3, 7, 8, 9, 20])
def test_what_is_submitted_is_sent_in_order_through_many_turns(n: int, compiled: bool) -> None:
    memory = bytearray(SLOTS * SLOT_SIZE)
    kernel, ring = Kernel(memory), SlotRing(memory, SLOT_SIZE, PACKETS)
    if compiled:
        ring.use_compiled()
    for turn in range(20):
        given = descs(turn, n)
        accepted = ring.submit(given)
        assert accepted == min(n, SLOTS)
        expected = [
            bytes(PACKETS[int(d["addr"]) : int(d["addr"]) + int(d["len"])])
            for d in given[:accepted]
        ]
        assert kernel.send() == expected


def test_a_full_ring_takes_what_has_become_free() -> None:
    memory = bytearray(SLOTS * SLOT_SIZE)
    kernel, ring = Kernel(memory), SlotRing(memory, SLOT_SIZE, PACKETS)
    assert ring.submit(descs(0, 5)) == 5
    assert ring.submit(descs(5, 5)) == 3
    assert ring.submit(descs(8, 5)) == 0
    assert len(kernel.send(2)) == 2
    assert ring.submit(descs(8, 5)) == 2
    assert [len(p) for p in kernel.send()] == [62, 63, 64, 65, 66, 67, 68, 69]


def test_slots_that_become_free_out_of_order_wait_for_the_first() -> None:
    memory = bytearray(SLOTS * SLOT_SIZE)
    kernel, ring = Kernel(memory), SlotRing(memory, SLOT_SIZE, PACKETS)
    assert ring.submit(descs(0, SLOTS)) == SLOTS
    kernel.slots["status"][1:3] = TP_STATUS_AVAILABLE
    assert ring.submit(descs(8, 4)) == 0
    kernel.slots["status"][0] = TP_STATUS_AVAILABLE
    assert ring.submit(descs(8, 4)) == 3


def test_close_lets_the_memory_go() -> None:
    memory = bytearray(SLOTS * SLOT_SIZE)
    ring = SlotRing(memory, SLOT_SIZE, PACKETS)
    ring.close()
    ring.close()
    memory.clear()  # BufferError while there are views
