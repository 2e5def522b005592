"""Coroutines that run beside the main one: none of them may end unnoticed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AsyncExitStack


class Background:
    """Starts tasks, and cancels them in reverse order with the stack they are put on.

    If one ends by itself, `stop` is set, and `check` raises what it ended with.
    """

    def __init__(self, undo: AsyncExitStack, stop: asyncio.Event) -> None:
        self._undo = undo
        self._stop = stop
        self._failure: BaseException | None = None

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the stack is unwound."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._undo.push_async_callback(self._cancel, task)

    def check(self) -> None:
        """Raise the error of the first task that failed."""
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if self._failure is None:
            self._failure = task.exception()
        self._stop.set()

    @staticmethod
    async def _cancel(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # its error is `check`'s to raise
