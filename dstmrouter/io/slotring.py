"""The transmit ring of a packet socket, TPACKET_V2: slots of one size, each with a packet to send.

The kernel looks at the slots in order when it is told to (send(2) with nothing to send), and stops
at the first that is not requested. A slot whose packet has gone is available again. See
Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dstmrouter.io.packetcopy import PacketCopy
from dstmrouter.io.uapi_packet import SLOT, TP_STATUS_AVAILABLE, TP_STATUS_SEND_REQUEST

if TYPE_CHECKING:
    from dstmrouter.io.compiled.slots import CompiledSlots
    from dstmrouter.io.records import Memory
    from dstmrouter.io.umem import Descs


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
        self._lens[at] = lens
        self._status[at] = TP_STATUS_SEND_REQUEST  # publish last
        return n

    def close(self) -> None:
        """Drop the views of the memory, so that it can be unmapped; nothing works afterwards."""
        self._copy.close()
        self._compiled = None
        self._status = self._lens = np.empty(0, np.uint32)
