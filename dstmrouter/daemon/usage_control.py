"""Control methods about usage by binding: usage, usage.set, usage.bindings, usage.ended.

For people there is `bindings` with `usage`; these give columns, so that whoever bills or logs can
read a million bindings in a hundred calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.daemon.params import Params, bad_request, number
from dstmrouter.zmqctl.usage_columns import USAGE_ROWS_MAX, UsageColumns, pack_usage

if TYPE_CHECKING:
    from dstmrouter.daemon.router import Supervisor
    from dstmrouter.zmqctl import Handler

_PAGE: Final = 4096  # rows, if nothing else is asked for
_SLOTS_MAX: Final = 1 << 33
_NUMBERS_MAX: Final = (1 << 63) - 1


class UsageControl:
    """Reads what was counted, and has it counted."""

    def __init__(self, router: Supervisor) -> None:
        self._router = router
        self._book = router.usage

    def handlers(self) -> dict[str, Handler]:
        """The control methods by name."""
        return {
            "usage": self._state,
            "usage.set": self._set,
            "usage.bindings": self._bindings,
            "usage.ended": self._ended,
        }

    async def _state(self, _params: Params) -> dict[str, Any]:
        book = self._book
        return {"on": book.on, "since": book.since, "ended": book.ended}

    async def _set(self, params: Params) -> dict[str, Any]:
        """Count from now on, or not, by `on`."""
        on = params.get("on")
        if not isinstance(on, bool):
            raise bad_request(f"on {on!r:.40}: expected true or false")
        self._book.turn(on=on)
        return await self._state(params)

    async def _bindings(self, params: Params) -> dict[str, Any]:
        """A page of what bindings have used that last; `after` is that of the page before."""
        after = number(params, "after", 0, _SLOTS_MAX) or 0  # slot 0 is in block 0: nobody's
        limit = number(params, "limit", 1, USAGE_ROWS_MAX) or _PAGE
        bindings, writer = self._router.shared.tables.bindings, self._router.writer
        slots = writer.bound_slots()
        slots = slots[np.searchsorted(slots, after, "right") :]
        page = slots[:limit]
        rows = bindings.slots[page]
        records = bindings.numbered(rows)
        owners, names = writer.owners(page)
        known, source = np.unique(owners, return_inverse=True)
        columns = UsageColumns(
            ipv4=records["ipv4"],
            client6=records["client6"],
            psid_offset=records["psid_offset"],
            psid_len=records["psid_len"],
            psid=bindings.psids(page).astype(np.uint16),
            usage=self._book.of(rows),
            source=source.astype(np.uint16),
            sources=tuple(names.get(owner, "") for owner in known.tolist()),
        )
        more = int(page[-1]) if len(page) < len(slots) else None
        return {"after": more, "ended": self._book.ended, "bindings": pack_usage(columns)}

    async def _ended(self, params: Params) -> dict[str, Any]:
        """A page of what bindings had used that have ended since number `after`."""
        after = number(params, "after", 0, _NUMBERS_MAX) or 0
        limit = number(params, "limit", 1, USAGE_ROWS_MAX) or _PAGE
        first, entries = self._book.list_ended(after, limit)
        known, source = np.unique(entries["source"], return_inverse=True)
        columns = UsageColumns(
            ipv4=entries["ipv4"],
            client6=entries["client6"],
            psid_offset=entries["psid_offset"],
            psid_len=entries["psid_len"],
            psid=entries["psid"],
            usage=entries["usage"],
            source=source.astype(np.uint16),
            sources=tuple(map(self._book.source_name, known.tolist())),
            until=entries["until"],
        )
        last = first + len(entries) - 1
        lost = max(first - 1 - after, 0)
        return {
            "after": last,
            "more": last < self._book.ended,
            "lost": lost,
            "bindings": pack_usage(columns),
        }
