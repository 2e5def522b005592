from __future__ import annotations

import asyncio

import pytest

from dstmrouter.daemon.client_facts import Facts, end


def test_facts_come_in_order_and_a_quiet_time_is_nothing() -> None:
    async def scenario() -> list[str]:
        facts, seen = Facts(), list[str]()
        facts.happened(lambda now: seen.append(f"first {now}"))
        facts.happened(lambda now: seen.append(f"second {now}"))
        for now in (1.0, 2.0, 3.0):
            (await facts.next(0.01))(now)
        return seen

    assert asyncio.run(scenario()) == ["first 1.0", "second 2.0"]


def test_failed_work_ends_the_reader() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def scenario() -> None:
        facts = Facts()
        facts.start(fail())
        with pytest.raises(ValueError, match="broken"):
            await facts.next(5)

    asyncio.run(scenario())


def test_the_first_failure_counts() -> None:
    async def scenario() -> None:
        facts = Facts()
        facts.fail(KeyError("first"))
        facts.fail(ValueError("second"))
        with pytest.raises(KeyError, match="first"):
            await facts.next(5)

    asyncio.run(scenario())


def test_cancelled_work_is_no_failure_and_close_ends_all() -> None:
    async def scenario() -> None:
        facts = Facts()
        tasks = [facts.start(asyncio.Event().wait()) for _ in range(3)]  # type: ignore[arg-type]
        await end(tasks[0])
        await end(None)
        (await facts.next(0.01))(0.0)
        await facts.close()
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scenario())
