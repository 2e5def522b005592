"""Frames that a port holds for received packets, when no kernel ring holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dstmrouter.io.umem import Addrs


class FrameStack:
    """A stack of at most `capacity` frame addresses; the last in is the first out.

    So the frames in use stay in the cache.
    """

    def __init__(self, capacity: int) -> None:
        self._addrs: Addrs = np.empty(capacity, np.uint64)
        self._held = 0

    def __len__(self) -> int:
        return self._held

    @property
    def room(self) -> int:
        """How many frames `put` would take now."""
        return len(self._addrs) - self._held

    def put(self, addrs: Addrs) -> int:
        """Put as many of `addrs` as fit, from the first; return how many."""
        n = min(len(addrs), self.room)
        self._addrs[self._held : self._held + n] = addrs[:n]
        self._held += n
        return n

    def take(self, limit: int) -> Addrs:
        """Take up to `limit` frames; they are the caller's. The result is a copy."""
        n = min(limit, self._held)
        self._held -= n
        return self._addrs[self._held : self._held + n].copy()
