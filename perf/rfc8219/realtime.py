"""A worker that nothing takes the CPU from, but the kernel's thread of RCU grace periods.

The kernel frees what sending as XDP frames leaves at the end of a grace period of RCU. Behind a
process of real-time priority the thread that ends them waits for its turn, 50 ms when measured,
and what is freed then, at once and on the worker's CPU, takes 0.4 to 1 ms. With a priority above it
a grace period takes 8 to 12 ms. The kernel's option for such machines is `rcutree.kthread_prio`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER_PRIORITY: Final = 1
THREAD_PRIORITY: Final = WORKER_PRIORITY + 1
THREAD_NAMES: Final = ("rcu_preempt", "rcu_sched")  # one or the other, by how the kernel preempts
KTHREADD: Final = 2  # parent of all threads of the kernel
LONGEST_S: Final = 0.8  # of a trial: when others had no CPU for 0.95 s, the kernel gives them 50 ms


@contextlib.contextmanager
def realtime(pid: int) -> Iterator[None]:
    """Let process `pid` have its CPU; for the block the thread goes before it."""
    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(WORKER_PRIORITY))
    thread = grace_period_thread()
    if thread is None or os.sched_getscheduler(thread) != os.SCHED_OTHER:
        yield
        return
    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(THREAD_PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def grace_period_thread() -> int | None:
    """Its process id; None where it cannot be seen, as in a container."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:  # it has ended meanwhile
            continue
        name, _, fields = rest.rpartition(") ")
        if name in THREAD_NAMES and int(fields.split()[1]) == KTHREADD:
            return int(pid)
    return None
