"""IPv4 routes for workers: which next hop an IPv4 destination has.

Prefixes are compiled to disjoint intervals (`dstmrouter.pipeline.prefixes`), so longest prefix
match is one binary search. Two buffers in shared memory: readers use the active one, the writer
fills the other and makes it active with one store.

Contract: a reader holds nothing of a buffer between two of its turns, and the writer publishes
again only when all readers have passed a quiescent point since the last time
(`dstmrouter.pipeline.quiescence`). Then nobody reads a buffer while it is filled. x86-64 keeps the
stores in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.hops import UNREACHABLE_HOP, HopIds

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Octets

HEADER: Final = 64  # octets: a cache line for the active index and the counts
BUFFERS: Final = 2


class Routes4:
    """View of the shared buffers; every process makes its own over the same memory.

    Zeroed memory is a table without routes: nothing needs to be laid out.
    """

    def __init__(self, buffer: Octets, capacity: int) -> None:
        assert capacity > 0
        self.capacity = capacity
        header: npt.NDArray[np.uint32] = np.ndarray(1 + BUFFERS, np.uint32, buffer)
        self.active = header[:1]
        self.counts = header[1:]
        shape = (BUFFERS, capacity)
        self.starts: npt.NDArray[np.uint32] = np.ndarray(shape, np.uint32, buffer, HEADER)
        self.hops: HopIds = np.ndarray(shape, np.uint32, buffer, HEADER + self.starts.nbytes)

    @staticmethod
    def size(capacity: int) -> int:
        """Octets of shared memory for `capacity` intervals."""
        return HEADER + BUFFERS * capacity * (4 + 4)

    def publish(self, starts: npt.NDArray[np.uint32], hops: HopIds) -> None:
        """Replace all routes.

        `starts` are the first addresses of the intervals, native and ascending from 0; `hops` are
        their next hops; at most `capacity` of them. All readers must have passed a quiescent point
        since the last call.
        """
        n = len(starts)
        assert 0 < n <= self.capacity
        assert len(hops) == n
        assert starts[0] == 0, "an address below the first interval would have no next hop"
        spare = 1 - int(self.active[0])
        self.starts[spare, :n] = starts
        self.hops[spare, :n] = hops
        self.counts[spare] = n
        self.active[0] = spare  # publish: after the buffer is complete

    def lookup(self, dst: npt.NDArray[np.uint32]) -> HopIds:
        """Next hops of native addresses, shape (n,); UNREACHABLE_HOP where there is no route."""
        active = int(self.active[0])
        n = int(self.counts[active])
        if n == 0:  # nothing was ever published
            return np.full(len(dst), UNREACHABLE_HOP, np.uint32)
        at = self.starts[active, 1:n].searchsorted(dst, "right")  # the first one starts at 0
        hops: HopIds = self.hops[active].take(at)
        return hops

    def __len__(self) -> int:
        return int(self.counts[int(self.active[0])])
