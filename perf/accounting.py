"""What it costs a worker to count usage by binding: nanoseconds a packet, off and on.

    python -m perf.accounting [--json] [--runs N] [--quick]

Frames lie in frame memory as AF_XDP leaves them, as in `perf.pipeline`; a run walks over all of
them in bursts of 256, counters included, and only the walk is timed. Off and on take turns on the
same frames and tables. "1,000 flows" are as many clients in 2,048 frames, "60,000 flows" in as many
frames: then frames, rows and records of usage are in no cache.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.io.umem import XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from perf.figures import Figure, show
from perf.holdings import Holdings
from perf.packets import decap_frames, encap_frames
from perf.pipeline import POOL, RULES, TEP6, build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.daemon.engine import Steps
    from dstmrouter.pipeline.outcome import Tables

BINDINGS: Final = 1_000_000
INNER_LEN: Final = 64
BURST: Final = 256
SPARE: Final = 64  # frames that the steps could take
FRAMES: Final = {1_000: 2_048, 60_000: 60_000}  # by flows


class Work(NamedTuple):
    """What is measured."""

    engine: str
    decap: bool
    sets: bool
    flows: int

    def __str__(self) -> str:
        numpy = "" if self.engine == CompiledForwarder.engine else ", numpy alone"
        sets = ", port sets" if self.sets else ""
        return f"{'decap' if self.decap else 'encap'}{sets}, {self.flows:,} flows{numpy}"


WORKS: Final = tuple(
    Work(engine, decap, sets, flows)
    for engine, flows in (("compiled", 1_000), ("compiled", 60_000), ("numpy", 1_000))
    for sets in (False, True)
    for decap in (False, True)
)


class Bench:
    """One kind of work on one set of frames."""

    def __init__(self, tables: Tables, work: Work, holdings: Holdings) -> None:
        self._frames = frames = FRAMES[work.flows]
        self._umem = Umem(frames + SPARE)
        self._umem.pool.take(frames)  # the first ones, which the packets lie in
        memory = self._umem.memory
        self._forwarder: Steps = Forwarder(FrameMemory(memory), tables, RULES, self._umem.pool)
        if work.engine == CompiledForwarder.engine:
            self._forwarder = CompiledForwarder(memory, tables, RULES, self._forwarder)
        self._counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        self._usage = tables.usage
        rng = np.random.default_rng(7)
        flows = rng.integers(0, holdings.count, work.flows, dtype=np.uint32)
        clients = flows[rng.integers(0, work.flows, frames)]
        ipv4, ports = holdings.ipv4(clients), holdings.ports(clients, rng)
        if work.decap:
            client6 = holdings.client6(clients)
            self._packets = decap_frames(ipv4, ports, client6, TEP6, INNER_LEN, rng)
        else:
            self._packets = encap_frames(ipv4, ports, INNER_LEN, rng)
        self._port = int(work.decap)
        order = rng.permutation(frames).astype(np.intp)  # as frames come out of a busy pool
        self._at = order * self._umem.chunk_size + XDP_PACKET_HEADROOM
        self._length = np.full(frames, self._packets.shape[1], np.int64)

    def run(self, *, counting: bool) -> float:
        """Nanoseconds of CPU time a packet over all frames."""
        octets = self._umem.octets.reshape(self._frames + SPARE, -1)[: self._frames]
        octets[:, XDP_PACKET_HEADROOM:][:, : self._packets.shape[1]] = self._packets
        self._usage.turn(on=counting)
        line = self._usage.values[0]
        before = int(line[:, ::2].sum())
        start = time.process_time_ns()
        for first in range(0, self._frames, BURST):
            at, length = (column[first : first + BURST] for column in (self._at, self._length))
            outcome = self._forwarder.process(at, length, self._port, 0)
            for charge in outcome.charges:
                charge.settle(line, outcome.verdicts)
            self._counters.count(0, outcome.verdicts, length)
        elapsed = time.process_time_ns() - start
        counted = int(line[:, ::2].sum()) - before
        assert counted == counting * self._frames, f"{counted} of {self._frames} packets counted"
        return elapsed / self._frames


def measure(works: Sequence[Work], runs: int, bindings: int) -> list[Figure]:
    """All figures: off, on, and by what part of the forwarding rate on is slower."""
    tables = {}
    for sets in {work.sets for work in works}:
        holdings = Holdings(POOL, bindings, sets=sets)
        tables[sets] = build(holdings), holdings
    figures = []
    for work in works:
        shared, holdings = tables[work.sets]
        bench = Bench(shared, work, holdings)
        times: dict[bool, list[float]] = {False: [], True: []}
        for counting in times:
            bench.run(counting=counting)
        for _ in range(runs):
            for counting, found in times.items():
                found.append(bench.run(counting=counting))
        costs = [100 * (1 - off / on) for off, on in zip(*times.values(), strict=True)]
        lines = (("off", "ns/packet", times[False]), ("on", "ns/packet", times[True]))
        for state, unit, found in (*lines, ("cost", "% of the rate", costs)):
            figures.append(
                Figure(
                    bench="accounting",
                    work=f"{work}: {state}",
                    burst=BURST,
                    bindings=bindings,
                    frame=INNER_LEN,
                    unit=unit,
                    runs=found,
                )
            )
    return figures


def main() -> None:
    """Parse options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON object per line and figure")
    parser.add_argument("--runs", type=int, default=25, help="runs per figure (default 25)")
    parser.add_argument("--quick", action="store_true", help="65,536 bindings, 1,000 flows, 5 runs")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    few = [work for work in WORKS if work.flows == min(FRAMES)]
    choice = (few, 5, 65_536) if args.quick else (WORKS, args.runs, BINDINGS)
    show("usage by binding, one core, in memory", measure(*choice), as_json=args.json)


if __name__ == "__main__":
    main()
