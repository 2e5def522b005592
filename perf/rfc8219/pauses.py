"""How much of a CPU's time is nobody's: a thread that nothing goes before only reads the clock.

What it misses is taken by interrupts and, on a virtual machine, by the host, of which the guest's
accounts say nothing. A device on that CPU cannot have a better latency than this lets it.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np

from dstmrouter.jit.functions import NONE, U, address, compiled, field_at
from dstmrouter.jit.kernel import monotonic_ns
from dstmrouter.jit.pointers import load64, store64
from perf.rfc8219.realtime import WORKER_PRIORITY

LEAST_NS: Final = 20_000  # a clock interrupt takes 5 to 15 us where the host leaves it alone
LOOK_NS: Final = 250_000_000
_FOUND: Final = np.dtype([("total", "<u8"), ("longest", "<u8")])
_TOTAL, _LONGEST = field_at(_FOUND, "total"), field_at(_FOUND, "longest")


class Pauses(NamedTuple):
    """Pauses of 20 us and more."""

    share: float  # of the time
    longest_s: float

    def __str__(self) -> str:
        return f"{100 * self.share:.2f} % of the time, {1e3 * self.longest_s:.2f} ms at most"


def pauses_of(cpu: int, *, look_ns: int = LOOK_NS, least_ns: int = LEAST_NS) -> Pauses:
    """Keep `cpu` busy for so long, and tell what was taken from it; OSError without privileges."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_look_on, cpu, look_ns, least_ns).result()


def _look_on(cpu: int, look_ns: int, least_ns: int) -> Pauses:
    found = np.zeros(1, _FOUND)
    at = address(found)
    _look(at, NONE, NONE)  # compiled before the clock counts
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(WORKER_PRIORITY))
    found["total"] = found["longest"] = 0
    _look(at, U(look_ns), U(least_ns))
    total, longest = found[0].tolist()
    return Pauses(total / look_ns, longest / 1e9)


@compiled
def _look(found: np.uint64, look_ns: np.uint64, least_ns: np.uint64) -> None:
    """Add up what passes between two looks at the clock, where it is at least so much."""
    last = monotonic_ns()
    end = last + look_ns
    while last < end:
        now = monotonic_ns()
        pause, last = now - last, now
        if pause >= least_ns:
            store64(found + _TOTAL, load64(found + _TOTAL) + pause)
            store64(found + _LONGEST, max(load64(found + _LONGEST), pause))
