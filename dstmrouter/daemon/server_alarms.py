"""Tells operators that a pool runs out: once in the log, and in `dstmctl status` while it lasts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.leases.alarm import PoolAlarms

if TYPE_CHECKING:
    from dstmrouter.leases.book import LeaseBook

log = structlog.get_logger(__name__)

POLL_S: Final = 1.0


class AlarmWatch:
    """Looks at the pools of `book` every second."""

    def __init__(self, book: LeaseBook) -> None:
        self._book = book
        self._alarms = PoolAlarms(len(book.space.pools))

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(POLL_S)

    def look(self) -> None:
        """Log the levels that were crossed since the last look."""
        for crossing in self._alarms.update(self._book.used_percent()):
            say = log.warning if crossing.rising else log.info
            say(
                "pool runs out" if crossing.rising else "pool has addresses again",
                pool=self._book.space.pools[crossing.pool].name,
                alarm_percent=crossing.after or None,
                used_percent=round(crossing.used, 1),
            )

    def describe(self) -> list[dict[str, Any]]:
        """For each pool: how much is in use, and the level that it has reached, None for none."""
        self.look()
        return [
            {"used_percent": round(used, 1), "alarm_percent": level or None}
            for used, level in zip(self._book.used_percent(), self._alarms.levels, strict=True)
        ]
