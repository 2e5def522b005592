"""Rows and blocks of set slots that no binding needs: free ones, and those that must rest first.

What was unpublished may still be held by a worker. It is retired with a snapshot of the workers'
turns and free again when all of them have passed (`dstmrouter.pipeline.quiescence`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable, RowKind
from dstmrouter.pipeline.set_blocks import SetBlocks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dstmrouter.pipeline.quiescence import Snapshot, Turns

    Block: TypeAlias = tuple[int, int]
    """First slot, and the logarithm of how many there are."""


class Spare:
    """What of a table can be used for new bindings; private to the writer."""

    def __init__(self, table: BindingTable, turns: Turns) -> None:
        self._table = table
        self._turns = turns
        self._rows: npt.NDArray[np.uint32]
        self._rows = np.arange(len(table.rows) - 1, FIXED_ROWS - 1, -1, dtype=np.uint32)
        self._free = len(self._rows)
        self._blocks = SetBlocks(table.first_set_slot, len(table.slots) - table.first_set_slot)
        self.on_free: Callable[[npt.NDArray[np.uint32]], None] = lambda _: None
        """Called with rows that were bound and that no worker can hold any more."""
        self._retired: deque[tuple[Snapshot, npt.NDArray[np.uint32], list[Block]]] = deque()

    @property
    def free_rows(self) -> npt.NDArray[np.uint32]:
        """The rows that can be used now."""
        return self._rows[: self._free]

    @property
    def free_set_slots(self) -> int:
        """The set slots that can be used now, in blocks of whatever size."""
        return self._blocks.free_slots

    def take_rows(self, wanted: int) -> npt.NDArray[np.uint32]:
        """Up to `wanted` rows."""
        n = min(wanted, self._free)
        self._free -= n
        return self._rows[self._free : self._free + n].copy()

    def take_block(self, order: int) -> int | None:
        """The first of 2^`order` set slots, all UNBOUND; None if there is no room for so many."""
        base = self._blocks.take(order)
        if base is not None:
            self._table.slots[base : base + (1 << order)] = RowKind.UNBOUND
        return base

    def give_back(self, rows: npt.NDArray[np.uint32]) -> None:
        """Free rows that were never published."""
        self._rows[self._free : self._free + len(rows)] = rows
        self._free += len(rows)

    def give_back_block(self, block: Block) -> None:
        """Free set slots that no published row leads to."""
        self._blocks.give_back(*block)

    def retire(self, rows: npt.NDArray[np.uint32], blocks: list[Block]) -> None:
        """Keep what was unpublished until nobody can hold it; fixed rows are left out."""
        rows = rows[rows >= FIXED_ROWS]
        if len(rows) or blocks:
            self._retired.append((self._turns.snapshot(), rows, blocks))

    def reclaim(self) -> int:
        """Free what no worker can hold any more; return how many rows still wait."""
        while self._retired and self._turns.passed(self._retired[0][0]):
            _, rows, blocks = self._retired.popleft()
            self.on_free(rows)
            self.give_back(rows)
            for block in blocks:
                self._blocks.give_back(*block)
        return sum(len(rows) for _, rows, _ in self._retired)
