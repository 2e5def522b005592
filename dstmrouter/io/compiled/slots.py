"""From frames into the kernel's slots, a packet at a time: `SlotRing.submit`, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.slotring import COPIED_MAX
from dstmrouter.io.uapi_packet import (
    SLOT,
    TP_STATUS_AVAILABLE,
    TP_STATUS_SEND_REQUEST,
    VNET_HDR_LEN,
)
from dstmrouter.io.umem import DESC
from dstmrouter.jit.functions import NONE, ONE, U, address, compiled, field_at
from dstmrouter.jit.pointers import (
    copy,
    load32,
    load64,
    observe32,
    prefetch_to_write,
    publish32,
    store16,
    store32,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.io.records import Memory
    from dstmrouter.io.slotring import SlotRing
    from dstmrouter.io.umem import Descs

_STATUS_AT, _LEN_AT, _COPIED_AT = (field_at(SLOT, name) for name in ("status", "len", "hdr_len"))
_VNET_LEN, _COPIED_MAX = U(VNET_HDR_LEN), U(COPIED_MAX)
_PACKET_AT: Final = U(SLOT.itemsize)
_AVAILABLE, _REQUEST = U(TP_STATUS_AVAILABLE), U(TP_STATUS_SEND_REQUEST)
_DESC_SIZE, _DESC_LEN = U(DESC.itemsize), field_at(DESC, "len")
_AHEAD: Final = U(4)  # slots


@compiled
def submit(
    ring: npt.NDArray[np.uint64], first: np.uint64, descs: np.uint64, wanted: np.uint64
) -> np.uint64:
    """Fill slots from number `first` on with the packets of `wanted` descriptors.

    `ring` is `CompiledSlots.ring`. Returns how many slots were free, one after the other.
    """
    base, slot_size, slots, packets = ring[0], ring[1], ring[2], ring[3]
    done, at = NONE, first
    while done < wanted:
        slot, desc = base + at * slot_size, descs + done * _DESC_SIZE
        if observe32(slot + _STATUS_AT) != _AVAILABLE:
            break
        prefetch_to_write(slot + _AHEAD * slot_size)
        length = load32(desc + _DESC_LEN)
        copy(slot + _PACKET_AT, packets + load64(desc), length)
        store32(slot + _LEN_AT, length + _VNET_LEN)
        store16(slot + _COPIED_AT, length if length <= _COPIED_MAX else NONE)
        publish32(slot + _STATUS_AT, _REQUEST)
        done += ONE
        at = at + ONE if at + ONE < slots else NONE
    return done


class CompiledSlots:
    """Submits to the slots of a `SlotRing`, whose `submit` calls it."""

    def __init__(self, ring: SlotRing, memory: Memory, packets: Memory) -> None:
        self._kept = np.frombuffer(memory, np.uint8), np.frombuffer(packets, np.uint8)
        memory_at, packets_at = map(address, self._kept)
        sizes = (U(ring.slot_size), U(ring.slots))
        self._ring = np.array([memory_at, *sizes, packets_at], np.uint64)
        self.submit(0, np.empty(0, DESC))  # loads the code

    def submit(self, first: int, descs: Descs) -> int:
        """Fill slots from number `first` on; return how many were free."""
        descs = np.ascontiguousarray(descs)
        return int(submit(self._ring, U(first), address(descs), U(len(descs))))
