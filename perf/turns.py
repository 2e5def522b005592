"""Frames in rotation, from ring to ring: whole turns of a worker over two ports like AF_XDP's.

The rings lie in our own memory, and what the kernel does at their other ends is not timed. A turn
has all that a worker does with a burst: completions, the fill ring, receiving, the pass, sending,
counting, frames given back, what the numpy steps do about the rest, and a look at the other port.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.daemon.compiled.ringturn import ring_turn
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.umem import DESC
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from lab.ringport import RingPort
from perf.rotation import Rotation

if TYPE_CHECKING:
    from dstmrouter.io.umem import Descs
    from dstmrouter.pipeline.outcome import Tables
    from perf.cases import Case
    from perf.holdings import Holdings

_SLOTS = 2048  # as a router has by default; a turn takes 512 packets at most


class Turns(Rotation):
    """The frames of one case, through an engine."""

    def __init__(self, case: Case, holdings: Holdings, tables: Tables) -> None:
        super().__init__(case, holdings, tables)
        self._ports = [RingPort(self.umem, name, slots=_SLOTS) for name in ("inside", "outside")]
        self._engine = Engine(self.umem, self._ports, self.forwarder, self.counters)
        assert isinstance(self.forwarder, CompiledForwarder), f"{case.engine} has no such turn"
        self._engine.handover = ring_turn(self._engine, self.forwarder)
        self._arriving = [self._described(*burst) for burst in self.bursts]
        self._nothing = np.empty(0, DESC)

    @staticmethod
    def _described(at: np.ndarray[tuple[int], np.dtype[np.int64]], length: object) -> Descs:
        descs = np.zeros(len(at), DESC)
        descs["addr"], descs["len"] = at, length
        return descs

    def walk(self) -> float:
        """Nanoseconds of CPU time for a packet of one walk over all frames."""
        self.lay_out()
        before, elapsed = self.done(), 0
        for descs in self._arriving:
            for number, port in enumerate(self._ports):
                port.exchange(descs if number == self.port else self._nothing)
            start = time.process_time_ns()
            self._engine.turn(self.worked_s)
            elapsed += time.process_time_ns() - start
        self.worked_s += elapsed / 1e9
        done = self.done() - before
        assert done == self.packets, f"{done} of {self.packets} packets as expected"
        return elapsed / self.packets
