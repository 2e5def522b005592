"""Worker processes: started, pinned, watched, started again, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.daemon.plan import WorkerPlan, write_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.daemon.shared import SharedTables

STOP_S: Final = 5.0  # for a worker to end by itself
RETRY_S: Final = 0.05  # before a worker is started again, doubled for each that did not live long
RETRY_MAX_S: Final = 5.0
LONG_LIFE_S: Final = 5.0
_log = structlog.get_logger(__name__)


class WorkerPool:
    """Keeps one process alive for each plan."""

    def __init__(self, plans: Sequence[WorkerPlan], shared: SharedTables) -> None:
        self._plans = plans
        self._shared = shared
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self.deaths = 0

    async def run(self) -> None:
        """Keep all workers alive until cancelled; then stop them, and wait."""
        try:
            async with asyncio.TaskGroup() as group:
                for plan in self._plans:
                    group.create_task(self._keep_alive(plan))
        finally:
            await self._stop_all()

    def pids(self) -> dict[int, int]:
        """Process ids of the living workers, by number."""
        return {number: process.pid for number, process in self._processes.items()}

    async def _keep_alive(self, plan: WorkerPlan) -> None:
        retry_s = RETRY_S
        while True:
            started = time.monotonic()
            process = await self._start(plan)
            code = await process.wait()
            self._bury(plan.worker)
            self.deaths += 1
            lived_s = time.monotonic() - started
            _log.error("worker died", worker=plan.worker, pid=process.pid, **_ending(code))
            retry_s = RETRY_S if lived_s > LONG_LIFE_S else min(2 * retry_s, RETRY_MAX_S)
            await asyncio.sleep(retry_s)

    async def _start(self, plan: WorkerPlan) -> asyncio.subprocess.Process:
        fd = write_plan(dataclasses.replace(plan, begun_at=time.monotonic()))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dstmrouter.daemon.worker",
                str(fd),
                pass_fds=[fd, *plan.descriptors()],
                # A matrix product of a burst is far too small for threads.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            os.close(fd)
        self._processes[plan.worker] = process
        _log.info("worker started", worker=plan.worker, pid=process.pid, cpu=plan.cpu)
        return process

    def _bury(self, worker: int) -> None:
        """The worker is gone: it holds no rows any more, and its last words are void."""
        del self._processes[worker]
        self._shared.turns.reset(worker)
        self._shared.noticeboard.clear(worker)

    async def _stop_all(self) -> None:
        processes = list(self._processes.values())
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in processes:
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                _log.error("worker does not stop, killing it", pid=process.pid)
                process.kill()
                await process.wait()


def _ending(code: int) -> dict[str, str | int]:
    if code < 0:
        return {"signal": signal.Signals(-code).name}
    return {"exit_code": code}
