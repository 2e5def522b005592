"""Binding updates of all sources, applied to the table; acknowledged when no worker sees the old.

An update is applied in steps of as many changes as there are spare rows for; between two steps the
workers pass a quiescent point, so that replaced rows can be used again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.zmqctl.update import ApplyResult

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dstmrouter.pipeline.binding_writer import BindingWriter
    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.quiescence import Turns
    from dstmrouter.zmqctl.update import BindingUpdate

QUIESCENCE_POLL_S: Final = 0.0002  # a turn takes up to 1 ms; asyncio sleeps not much shorter


class Intake:
    """The one way of bindings into the table; one update after the other."""

    def __init__(
        self,
        table: BindingTable,
        writer: BindingWriter,
        turns: Turns,
        step: int,
        clock: Callable[[], int],
    ) -> None:
        self._table = table
        self._writer = writer
        self._turns = turns
        self._step = step
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seen: dict[str, list[npt.NDArray[np.uint32]]] = {}  # slots of open snapshots

    async def apply(self, update: BindingUpdate) -> ApplyResult:
        """Apply an update; return when every worker works with it."""
        async with self._lock:
            applied, reasons = 0, dict[str, int]()
            for first in range(0, len(update.columns), self._step):
                part = update.columns.take(slice(first, first + self._step))
                result = self._writer.apply(update.source, part, self._clock())
                applied += result.applied
                for reason, count in result.reasons.items():
                    reasons[reason] = reasons.get(reason, 0) + count
                if first + self._step < len(update.columns):
                    await self._quiescence()
            if update.replace:
                self._note_snapshot(update)
            await self._quiescence()
        return ApplyResult(
            applied=applied,
            refused=sum(reasons.values()),
            rows=self._writer.owned_by(update.source),
            reasons=reasons,
        )

    async def expire(self) -> int:
        """Remove what has ended; return how many bindings that were."""
        async with self._lock:
            return self._writer.expire(self._clock())

    def _note_snapshot(self, update: BindingUpdate) -> None:
        if update.first:
            self._seen[update.source] = []
        seen = self._seen.setdefault(update.source, [])
        seen.append(self._table.slot_of(update.columns.ipv4))
        if update.last:
            self._writer.replace(update.source, np.concatenate(seen))
            del self._seen[update.source]

    async def _quiescence(self) -> None:
        since = self._turns.snapshot()
        while not self._turns.passed(since):
            await asyncio.sleep(QUIESCENCE_POLL_S)
        self._writer.reclaim()
