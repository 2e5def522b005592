from __future__ import annotations

import asyncio
import contextlib

import pytest

from dstmrouter.daemon.background import Background
from dstmrouter.errors import DstmError
from lab.netns import PATIENCE_S


async def fail() -> None:
    raise DstmError("it broke")


async def end() -> None:
    return


def test_tasks_are_cancelled_in_reverse_order() -> None:
    ended: list[str] = []

    async def last(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def scenario() -> None:
        stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as undo:
            background = Background(undo, stop)
            background.run(last("first"))
            background.run(last("second"))
            await asyncio.sleep(0)
            background.check()
        assert not stop.is_set()
        background.check()

    asyncio.run(scenario())
    assert ended == ["second", "first"]


def test_failure_stops_and_is_raised() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as undo:
            background = Background(undo, stop)
            background.run(fail())
            await asyncio.wait_for(stop.wait(), PATIENCE_S)
            with pytest.raises(DstmError, match="it broke"):
                background.check()

    asyncio.run(scenario())


def test_task_that_just_ends_stops_too() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as undo:
            background = Background(undo, stop)
            background.run(end())
            await asyncio.wait_for(stop.wait(), PATIENCE_S)
            background.check()

    asyncio.run(scenario())
