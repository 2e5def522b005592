"""Quiescent points: when does no worker hold on to what has been unpublished?

The idea is that of `rte_rcu_qsbr` (DPDK). Every worker has a turn counter in shared memory: odd
while it works on bursts, even while it waits for packets. What was unpublished at some moment can
no longer be seen by a worker whose counter was even then, or has changed since.

The one delicate place is a worker that begins a turn while the writer publishes: the store of the
odd number must be seen before the worker's loads of the table, and the writer's store into the
table before its load of the counter. On x86-64 a load can overtake an earlier store, so both sides
run a locked instruction in between (`fence`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Octets

Snapshot: TypeAlias = npt.NDArray[np.uint64]
"""Turn counters of all workers at one moment, shape (workers,)."""

LINE: Final = 64  # octets of a cache line: one counter each, so that workers do not slow each other
_lock = threading.Lock()


def fence() -> None:
    """Order all earlier stores before all later loads; a lock is a locked instruction (0.1 us)."""
    with _lock:
        pass


class Turns:
    """The turn counters of all workers; each is written by its worker alone while that lives."""

    def __init__(self, buffer: Octets, workers: int) -> None:
        self._counters: npt.NDArray[np.uint64]
        self._counters = np.ndarray(workers, np.uint64, buffer, 0, (LINE,))
        self._own = self._counters.data  # a turn is a microsecond cheaper with them than with numpy

    @staticmethod
    def size(workers: int) -> int:
        """Octets of shared memory."""
        return workers * LINE

    def begin(self, worker: int) -> None:
        """The worker starts to look at tables."""
        now = self._own[worker]
        self._own[worker] = now + 1 + (now & 1)
        fence()

    def end(self, worker: int) -> None:
        """The worker holds nothing of the tables any more: before it waits."""
        now = self._own[worker]
        self._own[worker] = now + (now & 1)

    def reset(self, worker: int) -> None:
        """The worker is dead; only its parent may say so, after waiting for it."""
        self.end(worker)

    def snapshot(self) -> Snapshot:
        """The counters now, after everything published before this call."""
        fence()
        return self._counters.copy()

    def passed(self, since: Snapshot) -> bool:
        """Whether every worker has been at a quiescent point after `since` was taken."""
        waiting = (since & np.uint64(1)).astype(np.bool_)
        return not bool((waiting & (self._counters == since)).any())
