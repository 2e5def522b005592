"""Everything that happens to a leasing client, in one queue; and the work beside the queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Fact: TypeAlias = "Callable[[float], None]"
"""Something that happened; called with the time at which it is taken note of."""


class Facts:
    """One reader, any number of writers in the same event loop."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Fact] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def happened(self, fact: Fact) -> None:
        """Note it."""
        self._queue.put_nowait(fact)

    def fail(self, error: BaseException) -> None:
        """Let `next` raise `error`: the client cannot go on."""
        self._failure = self._failure or error
        self._queue.put_nowait(_nothing)

    async def next(self, within_s: float) -> Fact:
        """The next fact; one that does nothing if there is none within that time."""
        try:
            async with asyncio.timeout(within_s):
                fact = await self._queue.get()
        except TimeoutError:
            fact = _nothing
        if self._failure is not None:
            raise self._failure
        return fact

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let `work` run beside; an error of it ends the client."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """End all work."""
        for task in list(self._tasks):
            await end(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel `task` and wait until it has ended; its error is for whoever started it."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def _nothing(_now: float) -> None:
    """Take note of nothing."""
