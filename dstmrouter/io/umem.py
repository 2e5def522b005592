"""UMEM: the memory of all frames of one worker, and the stack of those that nobody uses.

One UMEM serves every port of a worker, so a packet received on one port leaves on another without a
copy. It is cut into chunks of one size; a frame is one chunk. The kernel leaves
`XDP_PACKET_HEADROOM` (256) octets before a received packet, which is where encapsulation writes its
40 (Linux Documentation/networking/af_xdp.rst).

A frame has exactly one owner: the pool, one ring of one port, or the burst at hand. For every
worker, after every turn: pool + fill + RX + burst + TX + completion = frames.
"""

from __future__ import annotations

import mmap
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.errors import ConfigError

DESC: Final = np.dtype([("addr", "<u8"), ("len", "<u4"), ("options", "<u4")])  # struct xdp_desc
Descs: TypeAlias = npt.NDArray[np.void]
"""Descriptors, shape (n,), dtype DESC: where a packet starts in the UMEM, and its length."""
Addrs: TypeAlias = npt.NDArray[np.uint64]
"""Octet positions in the UMEM, shape (n,)."""

XDP_PACKET_HEADROOM: Final = 256  # include/uapi/linux/bpf.h
CHUNK_SIZES: Final = (2048, 4096)  # what the kernel takes in aligned mode on x86-64
HUGE_PAGE: Final = 2 << 20  # octets


class Umem:
    """`frames` chunks of `chunk_size` octets in page-aligned memory."""

    def __init__(
        self, frames: int, chunk_size: int = 2048, memory: mmap.mmap | None = None
    ) -> None:
        """Take `memory`, which must be a page longer than the chunks, or anonymous memory."""
        if chunk_size not in CHUNK_SIZES:
            raise ConfigError(f"chunk_size must be one of {CHUNK_SIZES}, not {chunk_size}")
        if frames <= 0:
            raise ConfigError(f"frames must be positive, not {frames}")
        self.frames = frames
        self.chunk_size = chunk_size
        self.size = frames * chunk_size
        self.memory = _anonymous(self.size + mmap.PAGESIZE) if memory is None else memory
        # One page more than is registered: a header that is read before its length is checked may
        # lie partly behind the last chunk.
        assert len(self.memory) >= self.size + mmap.PAGESIZE, "no page behind the last chunk"
        self.octets: npt.NDArray[np.uint8] = np.frombuffer(self.memory, np.uint8, self.size)
        self.pool = FramePool(frames, chunk_size)

    @property
    def max_frame_len(self) -> int:
        """Longest frame (Ethernet header included) that a chunk can receive, in octets."""
        return self.chunk_size - XDP_PACKET_HEADROOM

    def close(self) -> None:
        """Give the memory back; harmless when repeated. Views still in use keep it mapped."""
        self.octets = np.empty(0, np.uint8)
        try:
            self.memory.close()
        except BufferError:  # somebody holds a view: the mapping goes with the last of them
            return


def _anonymous(octets: int) -> mmap.mmap:
    """Memory in huge pages if it fills one: headers lie 2 KiB apart, 1,024 of them in each."""
    if octets > HUGE_PAGE:  # memory of whole huge pages is aligned to them
        octets = -(-octets // HUGE_PAGE) * HUGE_PAGE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory seldom gets huge pages
    memory = mmap.mmap(-1, octets, flags=flags)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class FramePool:
    """A stack of free chunk addresses.

    Last in, first out, so the frames in use stay in the cache. `stack` and `free` (how many of its
    entries are free frames, shape (1,)) are there for compiled code.
    """

    def __init__(self, frames: int, chunk_size: int) -> None:
        chunks = np.arange(frames, dtype=np.uint64)[::-1] * np.uint64(chunk_size)
        self.stack: Addrs = np.ascontiguousarray(chunks)
        self.chunk_size = chunk_size
        self._base_mask = np.uint64(~(chunk_size - 1) & 0xFFFFFFFFFFFFFFFF)
        self.free = np.array([frames], np.uint64)

    def __len__(self) -> int:
        return int(self.free[0])

    def take(self, limit: int) -> Addrs:
        """Take up to `limit` frames; they are the caller's. The result is a copy."""
        free = len(self)
        n = min(limit, free)
        self.free[0] = free - n
        return self.stack[free - n : free].copy()

    def give(self, addrs: Addrs) -> None:
        """Give frames back, by any address inside them; they are no longer the caller's."""
        start = len(self)
        end = start + len(addrs)
        assert end <= len(self.stack), "more frames given back than there are"
        np.bitwise_and(addrs, self._base_mask, out=self.stack[start:end])
        self.free[0] = end
