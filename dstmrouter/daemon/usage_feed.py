"""The router's feed of usage: what has become more, and what bindings had when they ended.

Totals are sent, not differences, so a message that is lost costs a subscriber time and no count.
Bindings are looked at some thousand at a time, and other work of the supervisor comes in between.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.usage_reader import UsageReader
from dstmrouter.zmqctl.messages import UsageChanged, UsageEnded
from dstmrouter.zmqctl.numbered_feed import NumberedFeed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dstmrouter.config.router import UsageFeedSection
    from dstmrouter.daemon.router import Supervisor
    from dstmrouter.zmqctl.keys import CurveServer

ROWS: Final = 4_096  # bindings of one message: 303 kB
LOOKED_AT: Final = 16_384  # bindings at a time
PAUSE_S: Final = 0.001  # between them
QUEUE_MAX: Final = 512  # messages waiting for one subscriber: 160 MB at the most, shared by all
HEARTBEAT_S: Final = 5.0
ENDED_S: Final = 1.0  # what has ended is told that soon, whatever the interval


class UsageFeed(NumberedFeed):
    """Publishes what the book of a router holds.

    Make it inside the running event loop and keep `run()` running. Raises as `NumberedFeed` does.
    """

    def __init__(
        self, router: Supervisor, section: UsageFeedSection, curve: CurveServer | None
    ) -> None:
        super().__init__(
            section.bind,
            epoch=router.epoch,
            curve=curve,
            heartbeat_s=min(HEARTBEAT_S, section.interval_s),
            queue=QUEUE_MAX,
        )
        self._writer = router.writer
        self._bindings = router.shared.tables.bindings
        self._book = router.usage
        self._reader = UsageReader(self._bindings, self._writer, self._book)
        self._interval_s = section.interval_s
        self._ended = 0  # number of the last entry that was sent

    async def run(self) -> None:
        """Publish until cancelled or closed."""
        async with asyncio.TaskGroup() as group:
            self._tasks.add(group.create_task(super().run()))
            self._tasks.add(group.create_task(self._publish()))

    async def tell_changed(self) -> None:
        """Send all bindings for which something was counted since they were last sent."""
        if self._book.since is None:
            return
        slots = self._writer.bound_slots()
        for first in range(0, len(slots), LOOKED_AT):
            for message in self._changes(slots[first : first + LOOKED_AT]):
                await self.send(message)
            await asyncio.sleep(PAUSE_S)

    async def tell_ended(self) -> None:
        """Send what has ended since the last call."""
        while self._ended < self._book.ended:
            first, columns = self._reader.ended(self._ended, ROWS)
            self._ended = first - 1 + len(columns)
            self.generation += 1
            await self.send(
                UsageEnded(
                    epoch=self.epoch,
                    generation=self.generation,
                    after=first - 1,
                    bindings=columns,
                )
            )
            await asyncio.sleep(0)

    async def _publish(self) -> None:
        due = time.monotonic() + self._interval_s
        while True:
            await self.tell_ended()
            if time.monotonic() >= due:
                await self.tell_changed()
                due = max(due + self._interval_s, time.monotonic())
            await asyncio.sleep(max(0.0, min(due - time.monotonic(), ENDED_S)))

    def _changes(self, slots: npt.NDArray[np.uint32]) -> list[UsageChanged]:
        """Messages about what has changed of `slots`, which may have another binding by now."""
        places = slots[self._book.changed(self._bindings.slots[slots])]
        messages = []
        for first in range(0, len(places), ROWS):
            self.generation += 1
            messages.append(
                UsageChanged(
                    epoch=self.epoch,
                    generation=self.generation,
                    at_ms=time.time_ns() // 1_000_000,
                    bindings=self._reader.lasting(places[first : first + ROWS]),
                )
            )
        return messages
