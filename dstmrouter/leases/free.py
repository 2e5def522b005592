"""Free slots, the longest free first, in chains for each pool.

Doubly linked chains over two int32 columns: taking the oldest, taking one from the middle (a client
wants its former address back) and giving one back are a few stores each, and a million free
addresses are 8 MB. Each chain has a sentinel behind the last slot; its `next` is the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

TAKEN: Final = -1  # in `next`: the slot is in no chain


class FreeSlots:
    """The free slots of pools, whose slots are `bounds`; all are taken at first.

    A pool has `stripes` chains, and slot s is in chain s modulo `stripes`. `oldest` looks into
    chain `own` first: servers that share a pool rarely lend the same address then.
    """

    def __init__(self, bounds: Sequence[range], *, stripes: int = 1, own: int = 0) -> None:
        self._stripes = stripes
        self._order = [(own + stripe) % stripes for stripe in range(stripes)]
        self._first_sentinel = bounds[-1].stop
        size = self._first_sentinel + len(bounds) * stripes
        self._next: npt.NDArray[np.int32] = np.full(size, TAKEN, np.int32)
        self._prev: npt.NDArray[np.int32] = np.full(size, TAKEN, np.int32)
        self._counts = [0] * len(bounds)
        self.clear()

    def clear(self) -> None:
        """Take all."""
        self._next[:] = TAKEN
        sentinels = np.arange(self._first_sentinel, len(self._next))
        self._next[sentinels] = self._prev[sentinels] = sentinels
        self._counts[:] = [0] * len(self._counts)

    def __contains__(self, slot: int) -> bool:
        return int(self._next[slot]) != TAKEN

    def oldest(self, pool: int) -> int | None:
        """The slot of `pool` to lend next, the longest free one of its chain; it stays free."""
        first = self._first_sentinel + pool * self._stripes
        for stripe in self._order:
            sentinel = first + stripe
            slot = int(self._next[sentinel])
            if slot != sentinel:
                return slot
        return None

    def first(self, slots: range) -> int | None:
        """The first free one of `slots`; it stays free."""
        (free,) = np.nonzero(self._next[slots.start : slots.stop] != TAKEN)
        return slots[int(free[0])] if len(free) else None

    def count(self, pool: int) -> int:
        """How many slots of `pool` are free."""
        return self._counts[pool]

    def take(self, slot: int, pool: int) -> None:
        """Take a free slot out of its chain of `pool`."""
        before, after = int(self._prev[slot]), int(self._next[slot])
        assert after != TAKEN, f"slot {slot} is not free"
        self._next[before] = after
        self._prev[after] = before
        self._next[slot] = TAKEN
        self._counts[pool] -= 1

    def give(self, slot: int, pool: int) -> None:
        """Put a slot at the end of its chain of `pool`: it became free just now."""
        assert slot not in self, f"slot {slot} is free already"
        sentinel = self._first_sentinel + pool * self._stripes + slot % self._stripes
        last = int(self._prev[sentinel])
        self._next[last] = slot
        self._next[slot] = sentinel
        self._prev[slot] = last
        self._prev[sentinel] = slot
        self._counts[pool] += 1

    def give_all(self, slots: npt.NDArray[np.int64], pool: int) -> None:
        """Put taken slots at the end of their chains of `pool`, in their order."""
        first = self._first_sentinel + pool * self._stripes
        for stripe in self._order:
            self._append(slots[slots % self._stripes == stripe], first + stripe)
        self._counts[pool] += len(slots)

    def _append(self, slots: npt.NDArray[np.int64], sentinel: int) -> None:
        if not len(slots):
            return
        last = int(self._prev[sentinel])
        self._next[slots[:-1]] = slots[1:]
        self._prev[slots[1:]] = slots[:-1]
        self._next[last] = slots[0]
        self._prev[slots[0]] = last
        self._next[slots[-1]] = sentinel
        self._prev[sentinel] = slots[-1]
