"""Free slots, the longest free first, one chain per pool.

Doubly linked chains over two int32 columns: taking the oldest, taking one from the middle (a client
wants its former address back) and giving one back are a few stores each, and a million free
addresses are 8 MB. Each pool has one sentinel behind the last slot; its `next` is the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

TAKEN: Final = -1  # in `next`: the slot is in no chain


class FreeSlots:
    """The free slots of pools, whose slots are `bounds`; all are taken at first."""

    def __init__(self, bounds: Sequence[range]) -> None:
        self._pools = len(bounds)
        self._first_sentinel = bounds[-1].stop
        size = self._first_sentinel + self._pools
        self._next: npt.NDArray[np.int32] = np.full(size, TAKEN, np.int32)
        self._prev: npt.NDArray[np.int32] = np.full(size, TAKEN, np.int32)
        self._counts = [0] * self._pools
        self.clear()

    def clear(self) -> None:
        """Take all."""
        self._next[:] = TAKEN
        sentinels = np.arange(self._first_sentinel, len(self._next))
        self._next[sentinels] = self._prev[sentinels] = sentinels
        self._counts[:] = [0] * self._pools

    def __contains__(self, slot: int) -> bool:
        return int(self._next[slot]) != TAKEN

    def oldest(self, pool: int) -> int | None:
        """The slot of `pool` that is free for the longest time; it stays free."""
        sentinel = self._first_sentinel + pool
        slot = int(self._next[sentinel])
        return None if slot == sentinel else slot

    def count(self, pool: int) -> int:
        """How many slots of `pool` are free."""
        return self._counts[pool]

    def take(self, slot: int, pool: int) -> None:
        """Take a free slot out of the chain of `pool`."""
        before, after = int(self._prev[slot]), int(self._next[slot])
        assert after != TAKEN, f"slot {slot} is not free"
        self._next[before] = after
        self._prev[after] = before
        self._next[slot] = TAKEN
        self._counts[pool] -= 1

    def give(self, slot: int, pool: int) -> None:
        """Put a slot at the end of the chain of `pool`: it became free just now."""
        assert slot not in self, f"slot {slot} is free already"
        sentinel = self._first_sentinel + pool
        last = int(self._prev[sentinel])
        self._next[last] = slot
        self._next[slot] = sentinel
        self._prev[slot] = last
        self._prev[sentinel] = slot
        self._counts[pool] += 1

    def give_all(self, slots: npt.NDArray[np.int64], pool: int) -> None:
        """Put taken slots at the end of the chain of `pool`, in their order."""
        if not len(slots):
            return
        sentinel = self._first_sentinel + pool
        last = int(self._prev[sentinel])
        self._next[slots[:-1]] = slots[1:]
        self._prev[slots[1:]] = slots[:-1]
        self._next[last] = slots[0]
        self._prev[slots[0]] = last
        self._next[slots[-1]] = sentinel
        self._prev[sentinel] = slots[-1]
        self._counts[pool] += len(slots)
