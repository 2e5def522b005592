from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon import workerpool
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.daemon.workerpool import WorkerPool
from tests.daemon.plans import SIZES, plan
from tests.netns.two_hosts import in_own_namespace, run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.netns


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


@contextlib.asynccontextmanager
async def running(pool: WorkerPool, shared: SharedTables) -> AsyncIterator[asyncio.Task[None]]:
    """A pool whose two workers forward; cancelled in the end."""
    run("ip link add near type veth peer name far")
    for end in ("near", "far"):
        run(f"ip link set {end} up")
    task = asyncio.create_task(pool.run())
    try:
        board = shared.noticeboard
        await until(lambda: all(board.read(worker) for worker in (0, 1)), "notices of both")
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def shared() -> SharedTables:
    made = SharedTables.create(SIZES)
    made.tables.hops.lay_out()
    made.tables.bindings.lay_out([], None)
    return made


@pytest.fixture
def pool(shared: SharedTables) -> WorkerPool:
    return WorkerPool([plan(shared, "near", worker=number) for number in (0, 1)], shared)


def test_dead_worker_is_replaced_and_its_turn_ended(pool: WorkerPool, shared: SharedTables) -> None:
    async def scenario() -> None:
        async with running(pool, shared):
            before = pool.pids()
            os.kill(before[0], signal.SIGSTOP)
            shared.turns.end(0)
            shared.turns.begin(0)  # as if it had been in the middle of a burst
            since = shared.turns.snapshot()
            assert not shared.turns.passed(since)
            os.kill(before[0], signal.SIGKILL)
            await until(lambda: pool.deaths == 1, "the death noticed")
            await until(lambda: shared.turns.passed(since), "rows no longer held by the dead")
            await until(lambda: bool(shared.noticeboard.read(0)), "a new worker")
            after = pool.pids()
            assert after[0] != before[0]
            assert after[1] == before[1]
        assert all(gone(pid) for pid in after.values())
        assert pool.deaths == 1

    in_own_namespace(scenario)


def test_worker_that_does_not_stop_is_killed(
    pool: WorkerPool, shared: SharedTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workerpool, "STOP_S", 0.2)

    async def scenario() -> None:
        async with running(pool, shared):
            pids = pool.pids()
            os.kill(pids[1], signal.SIGSTOP)
        assert all(gone(pid) for pid in pids.values())

    in_own_namespace(scenario)
