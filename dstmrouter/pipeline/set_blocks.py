"""Room for the slots of shared addresses: blocks of 2^k slots, given and taken back.

A buddy allocator (Knowlton, 1965): a block is halved until it fits, and two free halves are one
block again. So a table that has lent addresses in sets of one length can lend them in another.
"""

from __future__ import annotations

from typing import Final

MAX_ORDER: Final = 16  # a PSID has up to 16 bits


class SetBlocks:
    """Free blocks of the slots from `first` on, `size` of them; private to the writer."""

    def __init__(self, first: int, size: int) -> None:
        self._first = first
        self._free: list[set[int]] = [set() for _ in range(MAX_ORDER + 1)]  # offsets, by order
        at = 0
        while at < size:
            order = min(MAX_ORDER, (size - at).bit_length() - 1)
            self._free[order].add(at)
            at += 1 << order

    @property
    def free_slots(self) -> int:
        """How many slots are in free blocks."""
        return sum(len(blocks) << order for order, blocks in enumerate(self._free))

    def take(self, order: int) -> int | None:
        """The first slot of a block of 2^`order`; None if there is no such block."""
        for larger in range(order, MAX_ORDER + 1):
            if self._free[larger]:
                at = self._free[larger].pop()
                for half in range(order, larger):
                    self._free[half].add(at + (1 << half))
                return self._first + at
        return None

    def give_back(self, slot: int, order: int) -> None:
        """Free the block of 2^`order` slots that begins at `slot`, as `take` returned it."""
        at = slot - self._first
        while order < MAX_ORDER and at ^ (1 << order) in self._free[order]:
            self._free[order].remove(at ^ (1 << order))
            at &= ~(1 << order)
            order += 1
        self._free[order].add(at)
