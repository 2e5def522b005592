"""Rare packets: what is done about verdicts that are not the last word.

After the pass over a burst every frame has a verdict. Some of them (a fragment, an ICMP error, a
packet that is too big) name work that a step of its own does: it may change the verdict, send the
frame after all, keep it, or make packets of its own. Steps read their packets anew from the frames,
which nobody has changed: a packet that was not forwarded is as it arrived.

Every step bounds what it does for one burst: a flood of rare packets must not starve the others.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from dstmrouter.runtime import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.runtime import Meter, TurnStep


class FrameSource(Protocol):
    """Frames of the worker that nobody uses, for packets that a step makes."""

    chunk_size: int  # octets from the start of one to that of the next

    def __len__(self) -> int:
        """How many there are."""
        ...

    def take(self, limit: int) -> npt.NDArray[np.uint64]:
        """Take up to `limit`; the octets of frame memory where their chunks start."""
        ...

    def give(self, addrs: npt.NDArray[np.uint64]) -> None:
        """Give frames back, by any octet inside them."""
        ...


@dataclasses.dataclass(slots=True)
class Arrivals:
    """Frames that came in by one port, n of them."""

    rows: Index  # which frames of the burst
    at: Index  # where they start, octets of frame memory
    length: npt.NDArray[np.int64]  # octets
    port: int

    def take(self, keep: slice | Index) -> Arrivals:
        """The frames at the positions `keep`."""
        return Arrivals(self.rows[keep], self.at[keep], self.length[keep], self.port)


class Step(Protocol):
    """Works on the frames of some verdicts."""

    @property
    def turn_step(self) -> TurnStep:
        """As what its time is measured."""
        ...

    @property
    def verdicts(self) -> Collection[int]:
        """Those it works on, members of Verdict."""
        ...

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Do what is to be done about frames whose verdict is one of `verdicts`."""
        ...

    def expire(self, now_s: float, outcome: Outcome) -> None:
        """Do what time alone asks for; called about once a second, with an outcome of no rows."""
        ...

    def held(self) -> int:
        """How many frames it keeps."""
        ...


class KeepsNothing:
    """What a step says that has done with a burst when its work returns."""

    def expire(self, now_s: float, outcome: Outcome) -> None:
        """Nothing waits here."""

    def held(self) -> int:
        """No frame is kept."""
        return 0


class RareWork:
    """The steps, in the order in which they look at a burst."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.meter: Meter = UNMEASURED
        self._steps = [(step, np.zeros(256, np.bool_)) for step in steps]
        self._any = np.zeros(256, np.bool_)
        for step, mine in self._steps:
            mine[list(step.verdicts)] = True
            self._any |= mine

    def follow(
        self,
        at: Index,
        length: npt.NDArray[np.int64],
        port: int,
        now_s: float,
        outcome: Outcome,
    ) -> None:
        """Have the steps work on the frames of a burst whose verdicts are theirs."""
        verdicts = outcome.verdicts
        told = verdicts.tobytes()
        if (
            told == told[:1] * len(told) and not self._any[told[0]]
        ):  # the normal case: 0.5 us, not 3
            return
        if not np.count_nonzero(self._any.take(verdicts)):
            return
        for step, mine in self._steps:
            rows = np.flatnonzero(mine.take(verdicts))
            if len(rows):
                step.work(Arrivals(rows, at[rows], length[rows], port), now_s, outcome)
                if self.meter.on:
                    self.meter.lap(step.turn_step, len(rows))

    def expire(self, now_s: float, outcome: Outcome) -> None:
        """Let every step see what time it is."""
        for step, _ in self._steps:
            step.expire(now_s, outcome)

    def held(self) -> int:
        """How many frames the steps keep."""
        return sum(step.held() for step, _ in self._steps)
