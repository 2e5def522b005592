"""Several workers at once: processes that walk over frames of their own, over the same tables."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from perf.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from dstmrouter.pipeline.outcome import Tables
    from perf.cases import Case
    from perf.holdings import Holdings


class Workers:
    """As many processes as `cpus`; they end with this one."""

    def __init__(self, case: Case, holdings: Holdings, tables: Tables, cpus: Sequence[int]) -> None:
        fork = multiprocessing.get_context("fork")
        self._ends: list[Connection] = []
        for cpu in cpus:
            ours, theirs = fork.Pipe()
            self._ends.append(ours)
            work = fork.Process(
                target=_serve, args=(theirs, cpu, case, holdings, tables), daemon=True
            )
            work.start()

    def run(self) -> float:
        """Nanoseconds of CPU time for a packet, of all together."""
        for end in self._ends:
            end.send(None)
        times: list[float] = [end.recv() for end in self._ends]
        return 1 / sum(1 / time for time in times)


def _serve(end: Connection, cpu: int, case: Case, holdings: Holdings, tables: Tables) -> None:
    os.sched_setaffinity(0, {cpu})
    rotation = Rotation(case, holdings, tables)
    while True:
        end.recv()
        end.send(rotation.run())
