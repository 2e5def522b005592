"""The clock of a worker: measures some of its turns step by step, and how long it sleeps.

A stamp costs 0.1 us, so a turn in which a lone packet passes would take a tenth longer if it were
measured. One turn in 64 is. Their distances are random, because traffic that comes in a rhythm
would otherwise meet the same turn again and again.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.runtime import MEASURED_EVERY, Line, TurnStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dstmrouter.runtime import Runtime

WRITE_S: Final = 0.1  # between two writings of the line, which take 15 us
_LOOP: Final = int(TurnStep.LOOP)
_EMPTY: Final = int(TurnStep.EMPTY)
_WAIT: Final = int(TurnStep.WAIT)
_NS: Final = 1e9
_DISTANCES: Final = 2 * MEASURED_EVERY - 1


def random_distance() -> int:
    """Turns from one that is measured to the next, `MEASURED_EVERY` on the average."""
    return 1 + int(random.random() * _DISTANCES)  # noqa: S311 no secret; randint takes 0.5 us


class TurnMeter:
    """A `Meter` for one worker, which writes to its line of `runtime`."""

    def __init__(
        self,
        runtime: Runtime,
        worker: int,
        clock: Callable[[], float] = time.monotonic,
        distance: Callable[[], int] = random_distance,
    ) -> None:
        self.on = False
        self.clock = clock
        self._runtime = runtime
        self._worker = worker
        self._distance = distance
        before = runtime.read(worker)  # of a predecessor
        self._calls, self._packets, ns = before.steps.T.tolist()
        self._seconds = [one / _NS for one in ns]
        self._turns = before.turns
        self._measured = before.measured_turns
        self._timeouts = before.timeouts
        self._laps: list[tuple[int, int, float]] = []
        self._unmeasured = 0  # turns up to the next one that is measured
        self._aside_s = 0.0  # of the turn that is measured
        self._begun = self._started = clock()
        self._started -= before.all_ns / _NS
        self._next_write = 0.0

    def begin(self) -> tuple[float, int]:
        """Measure the turn that begins now; the time, and how many turns then are not measured."""
        self._turns += self._unmeasured
        self._unmeasured = self._distance() - 1
        self._aside_s = 0.0
        self.on = True
        self._begun = now = self.clock()
        return now, self._unmeasured

    def lap(self, step: int, packets: int) -> None:
        """As in `Meter`."""
        self._laps.append((step, packets, self.clock() - self._aside_s))

    def end(self, received: int) -> None:
        """The turn that is measured is over."""
        now = self.clock() - self._aside_s
        self.on = False
        self._turns += 1
        self._measured += 1
        at = self._begun
        if received:
            self._laps.append((_LOOP, received, now))
            all_calls, all_packets, all_seconds = self._calls, self._packets, self._seconds
            for step, packets, then in self._laps:
                all_calls[step] += 1
                all_packets[step] += packets
                all_seconds[step] += then - at
                at = then
        else:
            self._add(_EMPTY, 0, now - at)
        self._laps.clear()
        if now >= self._next_write:
            self.write()

    @contextlib.contextmanager
    def aside(self, step: int) -> Iterator[None]:
        """As in `Meter`."""
        was_on, self.on = self.on, False
        begun = self.clock()
        yield
        took = self.clock() - begun
        self._add(step, 0, took)
        self._aside_s += took
        self.on = was_on

    def rest(self) -> float:
        """The worker is about to sleep; the time."""
        now = self.clock()
        if now >= self._next_write:
            self.write()
            now = self.clock()
        return now

    def waited(self, begun: float, *, in_vain: bool) -> float:
        """The worker slept since `begun`, and no packet woke it if `in_vain`; the time now."""
        now = self.clock()
        self._add(_WAIT, 0, now - begun)
        self._timeouts += in_vain
        return now

    def write(self) -> None:
        """Let others read what has been measured."""
        now = self.clock()
        self._next_write = now + WRITE_S
        ns = [round(one * _NS) for one in self._seconds]
        self._runtime.write(
            self._worker,
            Line(
                all_ns=round((now - self._started) * _NS),
                turns=self._turns,
                measured_turns=self._measured,
                timeouts=self._timeouts,
                steps=np.array([self._calls, self._packets, ns], np.uint64).T,
            ),
        )

    def _add(self, step: int, packets: int, seconds: float) -> None:
        self._calls[step] += 1
        self._packets[step] += packets
        self._seconds[step] += seconds
