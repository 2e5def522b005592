"""Binding updates of all sources, applied to the table; acknowledged when no worker sees the old.

An update is applied in steps of as many changes as there are spare rows for; between two steps the
workers pass a quiescent point, so that replaced rows can be used again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from dstmrouter.pipeline.store_order import StoreOrder
from dstmrouter.zmqctl.update import ApplyResult

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dstmrouter.binding import BindingColumns
    from dstmrouter.pipeline.binding_writer import BindingWriter
    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.quiescence import Turns
    from dstmrouter.zmqctl.update import BindingUpdate

    _Names: TypeAlias = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]
    """Bindings by the slots of their addresses and their PSIDs, two columns."""

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
        # What open snapshots have mentioned, by source and server.
        self._seen: dict[tuple[str, str], list[_Names]] = {}
        self._orders: dict[str, StoreOrder] = {}  # of sources with several servers

    async def apply(self, update: BindingUpdate) -> ApplyResult:
        """Apply an update; return when every worker works with it."""
        async with self._lock:
            columns = self._news(update)
            applied, reasons = len(update.columns) - len(columns), dict[str, int]()
            for first in range(0, len(columns), self._step):
                part = columns.take(slice(first, first + self._step))
                result = self._writer.apply(
                    update.source, part, self._clock(), displace=update.replace
                )
                applied += result.applied
                for reason, count in result.reasons.items():
                    reasons[reason] = reasons.get(reason, 0) + count
                if first + self._step < len(columns):
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

    def _news(self, update: BindingUpdate) -> BindingColumns:
        """What another server of the same store has not told us newer things about."""
        order = self._order(update)
        if order is None:
            return update.columns
        columns = update.columns
        slots = self._table.slot_of(columns.ipv4)
        news = order.take(slots, update.version, columns.psid_len, columns.psid)
        return columns if len(news) == len(columns) else columns.take(news)

    def _order(self, update: BindingUpdate) -> StoreOrder | None:
        if not update.store:
            return None
        order = self._orders.get(update.source)
        if (
            order is None or order.store_id != update.store
        ):  # versions of another store mean nothing
            order = StoreOrder(update.store, self._table.first_set_slot)
            self._orders[update.source] = order
        return order

    def _note_snapshot(self, update: BindingUpdate) -> None:
        key = (update.source, update.server)
        if update.first:
            self._seen[key] = []
        seen = self._seen.setdefault(key, [])
        columns = update.columns
        seen.append((self._table.slot_of(columns.ipv4), columns.psid))
        if update.last:
            order = self._order(update)
            if order is not None:
                seen.append(order.complete(update.version))
            slots, psids = (np.concatenate(column) for column in zip(*seen, strict=True))
            self._writer.replace(update.source, self._writer.places(slots, psids))
            del self._seen[key]

    async def _quiescence(self) -> None:
        since = self._turns.snapshot()
        while not self._turns.passed(since):
            await asyncio.sleep(QUIESCENCE_POLL_S)
        self._writer.reclaim()
