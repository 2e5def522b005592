"""The transmit ring of a packet socket, TPACKET_V2: slots of one size, each with a packet to send.

The kernel looks at the slots in order when it is told to (send(2) with nothing to send), and stops
at the first that is not requested. A slot whose packet has gone is available again. See
Documentation/networking/packet_mmap.rst.

The kernel does not copy a packet out of its slot, but hands the device the pages, except for as
many octets as `hdr_len` says. Short packets are cheaper to copy whole: a veth pair copies pages
itself, at the price of allocating new ones (`perf/wire.py`: a fifth to a third more packets).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.io.packetcopy import PacketCopy
from dstmrouter.io.uapi_packet import (
    SLOT,
    TP_STATUS_AVAILABLE,
    TP_STATUS_SEND_REQUEST,
    VNET_HDR_LEN,
)

if TYPE_CHECKING:
    from dstmrouter.io.compiled.slots import CompiledSlots
    from dstmrouter.io.records import Memory
    from dstmrouter.io.umem import Descs

COPIED_MAX: Final = 256  # octets of a packet


class SlotRing:
    """The slots in `memory`, `slot_size` octets each; packets come from the memory `packets`."""

    def __init__(self, memory: Memory, slot_size: int, packets: Memory) -> None:
        self.max_len = slot_size - SLOT.itemsize
        self.slot_size = slot_size
        octets = np.frombuffer(memory, np.uint8)
        self.slots = len(octets) // slot_size
        slots = np.ndarray((self.slots,), SLOT, octets, 0, (slot_size,))
        self._status: npt.NDArray[np.uint32] = slots["status"]
        self._lens: npt.NDArray[np.uint32] = slots["len"]
        self._copied: npt.NDArray[np.uint16] = slots["hdr_len"]
        self._starts = np.arange(self.slots, dtype=np.int64) * slot_size + SLOT.itemsize
        self._copy = PacketCopy(packets, memory, self.max_len)
        self._memories = memory, packets
        self._next = 0
        self._compiled: CompiledSlots | None = None

    def use_compiled(self) -> None:
        """Load the compiled way, and take it from now on."""
        from dstmrouter.io.compiled.slots import CompiledSlots  # imports Numba

        self._compiled = CompiledSlots(self, *self._memories)

    def submit(self, descs: Descs) -> int:
        """Copy the packets of as many of `descs` as there are slots for, from the first.

        No packet may be longer than `max_len`. Return how many; the frames can be used again.
        """
        n = (
            self._submit(descs)
            if self._compiled is None
            else self._compiled.submit(self._next, descs)
        )
        self._next = (self._next + n) % self.slots
        return n

    def _submit(self, descs: Descs) -> int:
        at = (self._next + np.arange(min(len(descs), self.slots))) % self.slots
        taken = self._status[at] != TP_STATUS_AVAILABLE
        n = int(taken.argmax()) if taken.any() else len(at)
        if n == 0:
            return 0
        at, lens = at[:n], descs["len"][:n]
        self._copy.copy(descs["addr"][:n].astype(np.int64), self._starts[at], lens)
        self._lens[at] = lens + VNET_HDR_LEN
        self._copied[at] = np.where(lens <= COPIED_MAX, lens, 0)
        self._status[at] = TP_STATUS_SEND_REQUEST  # publish last
        return n

    def first_requested(self) -> int:
        """The slot that the kernel looks at next, if any is requested."""
        in_order = np.roll(self._status, -self._next)
        requested = int(np.argmax(in_order == TP_STATUS_SEND_REQUEST))
        return (self._next + requested) % self.slots

    def void(self, slot: int) -> None:
        """Have the kernel drop the packet of a requested slot: it does so to one without octets."""
        self._lens[slot] = VNET_HDR_LEN

    def close(self) -> None:
        """Drop the views of the memory, so that it can be unmapped; nothing works afterwards."""
        self._copy.close()
        self._compiled = None
        self._status = self._lens = np.empty(0, np.uint32)
        self._copied = np.empty(0, np.uint16)
