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
from perf.rotation import SPARE, Rotation

if TYPE_CHECKING:
    from dstmrouter.io.umem import Addrs, Descs
    from dstmrouter.pipeline.outcome import Tables
    from perf.cases import Case
    from perf.holdings import Holdings

_SLOTS = 2048  # as a router has by default; a turn takes 512 packets at most


class Turns(Rotation):
    """The frames of one case, through an engine."""

    spare = SPARE + 4 * _SLOTS  # two fill rings, each twice as long as the others

    def __init__(self, case: Case, holdings: Holdings, tables: Tables) -> None:
        super().__init__(case, holdings, tables)
        self._ports = [RingPort(self.umem, name, slots=_SLOTS) for name in ("inside", "outside")]
        self._engine = Engine(self.umem, self._ports, self.forwarder, self.counters)
        assert isinstance(self.forwarder, CompiledForwarder), f"{case.engine} has no such turn"
        self._engine.handover = ring_turn(self._engine, self.forwarder)
        self._arriving = [self._described(*burst) for burst in self.bursts]
        self._nothing = np.empty(0, DESC)
        self._aside: list[int] = []  # frames of fill rings in whose place packets have come
        self._packets_end = np.uint64(case.frames * self.umem.chunk_size)
        self._engine.turn(0)  # fills the rings

    @staticmethod
    def _described(at: np.ndarray[tuple[int], np.dtype[np.int64]], length: object) -> Descs:
        descs = np.zeros(len(at), DESC)
        descs["addr"], descs["len"] = at, length
        return descs

    def walk(self) -> float:
        """Nanoseconds of CPU time for a packet of one walk over all frames."""
        self.lay_out()
        elapsed = 0
        for descs in self._arriving:
            self._exchange(descs)
            start = time.process_time_ns()
            self._engine.turn(self.worked_s)
            elapsed += time.process_time_ns() - start
        self.worked_s += elapsed / 1e9
        return elapsed / self.packets

    def finish(self) -> None:
        """Take a quiet turn, in which nothing waits for more."""
        self._exchange(self._nothing)
        self._engine.turn(self.worked_s)
        self._exchange(self._nothing)

    def _exchange(self, arrived: Descs) -> None:
        """What the kernel does between two turns."""
        pool = self.umem.pool
        free = pool.stack[: len(pool)]
        free[:] = self._swapped(free)  # what was dropped
        for number, port in enumerate(self._ports):
            came = arrived if number == self.port else self._nothing
            self._aside += port.exchange(came, self._swapped).tolist()

    def _swapped(self, addrs: Addrs) -> Addrs:
        """The same with frames of fill rings in place of those of packets that come again."""
        swapped = addrs.copy()
        own = addrs < self._packets_end
        swapped[own] = [self._aside.pop() for _ in range(np.count_nonzero(own))]
        return swapped
