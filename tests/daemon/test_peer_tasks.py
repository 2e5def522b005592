from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dstmrouter.daemon.peer_tasks import PeerTasks
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    import pytest


def test_one_that_fails_is_told_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> None:
        raise KeyError("lost")

    async def scenario() -> None:
        tasks = PeerTasks()
        tasks.start(fail())
        tasks.start(asyncio.sleep(0))
        async with asyncio.timeout(PATIENCE_S):
            while len(tasks):
                await asyncio.sleep(0)

    asyncio.run(scenario())
    assert "KeyError" in capsys.readouterr().out


def test_all_end_together() -> None:
    async def scenario() -> None:
        tasks = PeerTasks()
        for _ in range(3):
            tasks.start(asyncio.Event().wait())  # type: ignore[arg-type]
        assert len(tasks) == 3
        await tasks.cancel()
        assert len(tasks) == 0

    asyncio.run(scenario())


def test_what_has_not_begun_cleans_up_too() -> None:
    async def work(cleaned: list[bool]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def scenario() -> None:
        tasks, cleaned = PeerTasks(), list[bool]()
        tasks.start(work(cleaned))
        await tasks.cancel()
        assert cleaned == [True]

    asyncio.run(scenario())
