"""The four rings of an AF_XDP socket: memory that we and the kernel both map.

A ring has a power of two of entries and two 32-bit indices that only grow and wrap at 2^32. The
producer writes entries and then its index; the consumer reads entries and then writes its own. Fill
and TX are ours to produce, RX and completion ours to consume
(Linux Documentation/networking/af_xdp.rst, "Rings").

Memory order. Entries must be visible before the index that publishes them, and must have been read
before the index that gives them back. x86-64 keeps stores in order, loads in order, and no store
passes an earlier load, and one aligned 32-bit store is not torn; the calls into C between our
accesses keep the compiler from moving them. That is all the ordering there is here, so rings refuse
to open on any other machine, and no other module may rely on it.

Entries are moved as octets: numpy copies structured entries field by field (10 ns each), while a
slice of a `memoryview` is one memcpy. Measured, descriptors of 16 octets, submitted or taken:
1.7 us a burst of one, 3 us a burst of 1,024.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dstmrouter.errors import DstmError
from dstmrouter.io import uapi

if TYPE_CHECKING:
    import mmap

    from dstmrouter.io.umem import Addrs, Descs

U32_MASK: Final = 0xFFFFFFFF


class RingOffsets(NamedTuple):
    """Where the parts of a ring are in its mapping, in octets (struct xdp_ring_offset)."""

    producer: int
    consumer: int
    entries: int
    flags: int


def require_store_order(machine: str | None = None) -> None:
    """Raise DstmError unless this machine orders memory as the module's docstring assumes."""
    machine = platform.machine() if machine is None else machine
    if machine != "x86_64":
        raise DstmError(f"AF_XDP rings need the memory order of x86_64; this machine is {machine}")


class RingPlace(NamedTuple):
    """Where a ring is in memory, for compiled code: addresses, and the number of entries."""

    producer: int
    consumer: int
    entries: int
    slots: int


class _Ring:
    """What both directions share: the mapping, its views, and the number of entries (`slots`)."""

    def __init__(
        self,
        memory: mmap.mmap,
        offsets: RingOffsets,
        slots: int,
        entry: npt.DTypeLike,
    ) -> None:
        assert slots > 0, "a ring without entries"
        assert slots & (slots - 1) == 0, f"{slots} entries are no power of two"
        require_store_order()
        self.slots = slots
        self._entry = np.dtype(entry)
        self._entry_len = self._entry.itemsize
        self._nothing = np.empty(0, self._entry)
        self._memory = memory
        whole = memoryview(memory)
        self._producer = whole[offsets.producer : offsets.producer + 4].cast("I")
        self._consumer = whole[offsets.consumer : offsets.consumer + 4].cast("I")
        self._flags = whole[offsets.flags : offsets.flags + 4].cast("I")
        self._offsets = offsets
        end = offsets.entries + slots * self._entry_len
        self._octets = whole[offsets.entries : end]
        self._views = (self._producer, self._consumer, self._flags, self._octets, whole)

    def __len__(self) -> int:
        """Entries produced and not yet consumed."""
        return (self._producer[0] - self._consumer[0]) & U32_MASK

    @property
    def produced(self) -> int:
        """Entries ever produced, modulo 2^32: rings of a new socket begin at 0."""
        return self._producer[0]

    @property
    def consumed(self) -> int:
        """Entries ever consumed, modulo 2^32."""
        return self._consumer[0]

    def place(self) -> RingPlace:
        """Where compiled code finds the ring, until `close`."""
        start = int(np.frombuffer(self._memory, np.uint8).ctypes.data)
        producer, consumer, entries, _ = (start + offset for offset in self._offsets)
        return RingPlace(producer, consumer, entries, self.slots)

    def flags_at(self) -> int:
        """Address of the word that `needs_wakeup` looks at."""
        return int(np.frombuffer(self._flags, np.uint32).ctypes.data)

    def needs_wakeup(self) -> bool:
        """Whether the kernel sleeps on this ring until a system call wakes it (need_wakeup)."""
        return bool(self._flags[0] & uapi.XDP_RING_NEED_WAKEUP)

    def close(self) -> None:
        """Unmap; harmless when repeated. The ring must not be used afterwards."""
        for view in self._views:
            view.release()
        self._memory.close()


class ProducerRing(_Ring):
    """A ring we write: fill or TX."""

    def room(self) -> int:
        """How many entries `submit` would take now."""
        return self.slots - len(self)

    def submit(self, values: Addrs | Descs) -> int:
        """Hand over as many of `values` (shape (n,)) as fit, from the first; return how many.

        The rest stays the caller's.
        """
        n = min(len(values), self.room())
        if n == 0:
            return 0
        size = self._entry_len
        assert values.itemsize == size, f"entries of {values.itemsize} octets, not {size}"
        octets = values[:n].tobytes()
        start = self._producer[0]
        at = (start & (self.slots - 1)) * size
        before_wrap = len(self._octets) - at
        if len(octets) <= before_wrap:
            self._octets[at : at + len(octets)] = octets
        else:
            self._octets[at:] = octets[:before_wrap]
            self._octets[: len(octets) - before_wrap] = octets[before_wrap:]
        self._producer[0] = (start + n) & U32_MASK  # publishes, so it comes last
        return n


class ConsumerRing(_Ring):
    """A ring we read: RX or completion."""

    def peek(self, limit: int) -> npt.NDArray[Any]:
        """The oldest entries, `limit` at most, which stay; a writable copy of shape (n,)."""
        n = min(len(self), limit)
        if n <= 0:
            return self._nothing
        at = (self._consumer[0] & (self.slots - 1)) * self._entry_len
        end = at + n * self._entry_len
        octets = bytearray(self._octets[at:end])
        if end > len(self._octets):
            octets += self._octets[: end - len(self._octets)]
        return np.frombuffer(octets, self._entry)

    def take(self, limit: int) -> npt.NDArray[Any]:
        """Take up to `limit` entries, oldest first; the result is a writable copy of shape (n,)."""
        entries = self.peek(limit)
        if len(entries):  # gives them back, so it comes last
            self._consumer[0] = (self._consumer[0] + len(entries)) & U32_MASK
        return entries
