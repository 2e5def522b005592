"""The rings of an AF_XDP socket over memory of our own, and a kernel for their other ends."""

from __future__ import annotations

import mmap
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from dstmrouter.io.ring import ConsumerRing, ProducerRing, RingOffsets
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM
from dstmrouter.io.xskrings import Rings, XskRings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from dstmrouter.io.umem import Addrs, Descs, Umem

OFFSETS: Final = RingOffsets(producer=0, consumer=64, entries=192, flags=128)
_U64: Final = np.dtype(np.uint64)
AnyRing = TypeVar("AnyRing", ProducerRing, ConsumerRing)


class _Shared:
    """Memory of a ring, begun at index `start`."""

    def __init__(self, slots: int, entry: np.dtype[np.generic], start: int) -> None:
        self._memory = mmap.mmap(-1, OFFSETS.entries + slots * entry.itemsize)
        words = memoryview(self._memory).cast("I")
        words[0] = words[16] = start
        self._slots, self._entry = slots, entry

    def end(self, kind: type[AnyRing]) -> AnyRing:
        return kind(self._memory, OFFSETS, self._slots, self._entry)


class RingPort(XskRings):
    """A `Port` whose packets come from `arrive` and go to `sent`."""

    def __init__(self, umem: Umem, name: str, *, slots: int = 64, start: int = 0) -> None:
        self.name = name
        self._memory = umem.memory
        rx, tx = (_Shared(slots, DESC, start) for _ in range(2))
        fill, completion = (_Shared(2 * slots, _U64, start) for _ in range(2))
        ours = rx.end(ConsumerRing), tx.end(ProducerRing)
        super().__init__(Rings(*ours, fill.end(ProducerRing), completion.end(ConsumerRing)))
        self._rx, self._tx = rx.end(ProducerRing), tx.end(ConsumerRing)
        self._fill, self._completion = fill.end(ConsumerRing), completion.end(ProducerRing)
        self._spare: deque[int] = deque()  # taken from the fill ring, not filled
        self._sending: list[Addrs] = []
        self.sent: list[bytes] = []
        self.lost = 0

    def arrive(self, frames: Sequence[bytes]) -> None:
        """Receive frames as far as there is room, as the kernel does it."""
        for frame in frames:
            self._spare.extend(self._fill.take(1).tolist())
            if not self._spare or not self._rx.room():
                self.lost += 1
                continue
            start = self._spare.popleft() + XDP_PACKET_HEADROOM
            self._memory[start : start + len(frame)] = frame
            self._rx.submit(np.array([(start, len(frame), 0)], DESC))

    def send(self, limit: int) -> None:
        """Send up to `limit` frames, without telling that it is done."""
        descs: npt.NDArray[np.void] = self._tx.take(limit)
        for start, size, options in descs.tolist():
            assert options == 0
            self.sent.append(self._memory[start : start + size])
        self._sending.append(descs["addr"].copy())

    def complete(self) -> None:
        """Tell what has been sent, as far as the ring takes it."""
        done = np.concatenate(self._sending) if self._sending else np.empty(0, _U64)
        self._sending = [done[self._completion.submit(done) :]]

    def exchange(self, arrived: Descs, swap: Callable[[Addrs], Addrs]) -> Addrs:
        """Tell that everything is sent, `swap` (addresses) instead of it, and receive `arrived`.

        Packets that lie in frames of their own. Returns the frames of the fill ring in whose place
        they came.
        """
        self._completion.submit(swap(self._tx.take(self._tx.slots)["addr"]))
        self._rx.submit(arrived)
        return self._fill.take(len(arrived))

    def fileno(self) -> int:
        """Nothing to poll."""
        return -1

    def flush(self) -> None:
        """The kernel of this port is called by tests."""

    def use_compiled(self) -> None:
        """As an AF_XDP socket."""

    def statistics(self) -> dict[str, int]:
        """There is no kernel that counts."""
        return {}

    def close(self) -> None:
        """Nothing is open."""
