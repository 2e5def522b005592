"""A port without a device: packets come from the program and sent ones go back to it.

For tests, for measuring the pipeline without the kernel, and, with files at both ends, for
`pcapport.py`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.io.framestack import FrameStack
from dstmrouter.io.port import RingFill
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstmrouter.io.umem import Addrs, Descs, Umem

Packet: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[np.uint8]


class MemoryPort:
    """A `Port` fed with packets (copied into frames) or with frames that hold packets (not copied).

    With `record`, the octets of sent packets are kept for `take_sent`, and grow until it is called;
    without, nothing is done per packet. `slots` bounds the frames to receive into and the sent
    frames that wait for `reclaim`, each.
    """

    def __init__(self, umem: Umem, name: str, *, record: bool = True, slots: int = 4096) -> None:
        self.name = name
        self._memory = umem.memory
        self._max_len = umem.max_frame_len
        self._record = record
        self._slots = slots
        self._fill = FrameStack(slots)
        self._waiting: deque[Packet] = deque()
        self._loaded: deque[Descs] = deque()
        self._sent: deque[bytes] = deque()
        self._completed: list[Addrs] = []
        self._counters = dict.fromkeys(("too_long", "no_frame", "tx_full"), 0)

    def feed(self, packets: Iterable[Packet]) -> None:
        """Let these packets arrive, in order: octets, or the rows of an array of uint8.

        Those longer than a frame are counted and dropped.
        """
        for packet in packets:
            if len(packet) > self._max_len:
                self._counters["too_long"] += 1
            else:
                self._waiting.append(packet)

    def load(self, descs: Descs) -> None:
        """Let these packets arrive, before all that were fed; their frames become the port's."""
        if len(descs):
            self._loaded.append(descs.copy())

    @property
    def waiting(self) -> int:
        """How many packets have not been received."""
        return len(self._waiting) + sum(map(len, self._loaded))

    def take_sent(self) -> list[bytes]:
        """Take the octets of all packets sent since the last call."""
        taken = list(self._sent)
        self._sent.clear()
        return taken

    def fileno(self) -> int:
        """There is nothing to poll: -1."""
        return -1

    def refill_room(self) -> int:
        """How many frames `refill` would take now."""
        return self._fill.room

    def refill(self, addrs: Addrs) -> int:
        """Hand over as many of `addrs` as fit; the rest stays the caller's."""
        return self._fill.put(addrs)

    def receive(self, limit: int) -> Descs:
        """Take up to `limit` packets: loaded ones, or else fed ones as far as there are frames."""
        if self._loaded:
            return self._take_loaded(limit)
        n = min(limit, len(self._waiting), len(self._fill))
        if n == 0 and self._waiting and limit:
            self._counters["no_frame"] += 1
        descs = np.zeros(n, DESC)
        descs["addr"] = starts = self._fill.take(n) + np.uint64(XDP_PACKET_HEADROOM)
        packets = [self._waiting.popleft() for _ in range(n)]
        descs["len"] = [len(packet) for packet in packets]
        for start, packet in zip(starts.tolist(), packets, strict=True):
            self._memory[start : start + len(packet)] = bytes(packet)
        return descs

    def transmit(self, descs: Descs) -> int:
        """Hand over as many of `descs` as fit; the rest stays the caller's."""
        n = min(len(descs), self._slots - self._held_completed())
        self._counters["tx_full"] += len(descs) - n
        if n:
            self._completed.append(descs["addr"][:n].copy())
        if self._record:
            for start, size in zip(
                descs["addr"][:n].tolist(), descs["len"][:n].tolist(), strict=True
            ):
                self._sent.append(self._memory[start : start + size])
        return n

    def flush(self) -> None:
        """There is nobody to tell."""

    def reclaim(self) -> Addrs:
        """Take back the frames that have been sent."""
        done, self._completed = self._completed, []
        return np.concatenate(done) if done else np.empty(0, np.uint64)

    def held(self) -> RingFill:
        """Frames the port holds now, by ring."""
        loaded = sum(map(len, self._loaded))
        return RingFill(fill=len(self._fill), rx=loaded, tx=0, completion=self._held_completed())

    def use_compiled(self) -> None:
        """Nothing to do: rings move descriptors, not packets."""

    def statistics(self) -> dict[str, int]:
        """Packets too long for a frame, turns without a frame, packets refused by `transmit`."""
        return dict(self._counters)

    def close(self) -> None:
        """Nothing to release; harmless when repeated."""

    def _take_loaded(self, limit: int) -> Descs:
        first = self._loaded[0]
        if len(first) <= limit:
            return self._loaded.popleft()
        self._loaded[0] = first[limit:]
        return first[:limit].copy()

    def _held_completed(self) -> int:
        return sum(map(len, self._completed))
