"""Control methods about usage by binding: usage, usage.set, usage.bindings, usage.ended.

For people there is `bindings` with `usage`; these give columns, so that whoever bills or logs can
read a million bindings in a hundred calls.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.daemon.params import Params, bad_request, number
from dstmrouter.daemon.usage_reader import UsageReader
from dstmrouter.zmqctl.usage_columns import USAGE_ROWS_MAX, pack_usage

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
        self._reader = UsageReader(router.shared.tables.bindings, router.writer, router.usage)

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
        feed = self._router.config.usage_feed
        told = {"on": book.on, "since": book.since, "ended": book.ended}
        return told | {"feed": feed.bind if feed else None} | self._where()

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
        slots = self._router.writer.bound_slots()
        slots = slots[np.searchsorted(slots, after, "right") :]
        page = slots[:limit]
        more = int(page[-1]) if len(page) < len(slots) else None
        return self._where() | {
            "after": more,
            "ended": self._book.ended,
            "at_ms": time.time_ns() // 1_000_000,
            "bindings": pack_usage(self._reader.lasting(page)),
        }

    async def _ended(self, params: Params) -> dict[str, Any]:
        """A page of what bindings had used that have ended since number `after`."""
        after = number(params, "after", 0, _NUMBERS_MAX) or 0
        limit = number(params, "limit", 1, USAGE_ROWS_MAX) or _PAGE
        first, columns = self._reader.ended(after, limit)
        last = first + len(columns) - 1
        lost = max(first - 1 - after, 0)
        return self._where() | {
            "after": last,
            "more": last < self._book.ended,
            "lost": lost,
            "bindings": pack_usage(columns),
        }

    def _where(self) -> dict[str, Any]:
        """Where the feed of usage is: messages up to that one say nothing newer than the answer."""
        feed = self._router.usage_feed
        return {"epoch": self._router.epoch, "generation": feed.generation if feed else 0}
