"""What it costs a worker that `dstmctl runtime` is always on: nanoseconds a turn.

    python -m perf runtime [--json] [--out FILE] [--runs N] [--quick]

The engine of a worker over memory ports, the compiled pass, encapsulation of 64-octet packets; each
turn forwards one burst. "off" has no meter, "on" measures one turn in 64 as workers do, "every
turn" would measure all. They take turns within a run. "on: cost" compares on and off by the fastest
tenth of their runs, in percent: what else the machine does disturbs those least. Over real ports a
turn takes longer, so there the meter costs less of it.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import BURST, Engine
from dstmrouter.daemon.meter import TurnMeter, random_distance
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import MEASURED_EVERY, UNMEASURED, Runtime
from perf.figures import Figure, stay_on_one_cpu
from perf.holdings import Holdings
from perf.packets import encap_frames
from perf.results import report, shared_options
from perf.rotation import POOL, RULES, build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FRAMES: Final = 12 * BURST
LEASES: Final = 65_536
INNER_LEN: Final = 64
PACKETS: Final = 8 * BURST  # in the turns of a run
TURNS_MAX: Final = 256
BURSTS: Final = (1, 16, 256, 1024)
STATES: Final[dict[str, Callable[[], int] | None]] = {
    "off": None,
    "on": random_distance,
    "every turn": lambda: 1,
}


class Bench:
    """An engine, always the same: where memory lies makes more difference than a meter."""

    def __init__(self) -> None:
        self._umem = umem = Umem(FRAMES)
        holdings = Holdings(POOL, LEASES, sets=False)
        tables = build(holdings)
        steps = Forwarder(FrameMemory(umem.memory), tables, RULES, umem.pool)
        compiled = CompiledForwarder(umem.memory, tables, RULES, steps)
        counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        self._ports = [
            MemoryPort(umem, name, record=False, slots=2 * BURST) for name in ("in", "out")
        ]
        self._engine = Engine(umem, self._ports, compiled, counters)
        self._compiled = compiled
        runtime = Runtime(bytearray(Runtime.size(1)), 1)
        self._meters = {
            state: None if distance is None else TurnMeter(runtime, 0, distance=distance)
            for state, distance in STATES.items()
        }
        rng = np.random.default_rng(7)
        clients = rng.integers(0, LEASES, PACKETS, dtype=np.uint32)
        ports = holdings.ports(clients, rng)
        self._packets = encap_frames(holdings.ipv4(clients), ports, INNER_LEN, rng)
        self._engine.turn(1)

    def run(self, state: str, burst: int) -> float:
        """Nanoseconds of CPU time a turn; frames are laid out before."""
        meter = self._meters[state]
        self._engine.meter = meter or UNMEASURED
        self._compiled.measure_with(self._engine.meter)
        turns = min(PACKETS // burst, TURNS_MAX)
        for _ in range(turns):
            self._arrive(burst)
        start = time.process_time_ns()
        self._turns(turns, meter)
        spent = time.process_time_ns() - start
        assert not self._ports[0].waiting
        return spent / turns

    def _arrive(self, burst: int) -> None:
        chunks, octets = self._umem.pool.take(burst), self._umem.octets
        assert len(chunks) == burst
        frames = octets.reshape(FRAMES, self._umem.chunk_size)
        end = XDP_PACKET_HEADROOM + self._packets.shape[1]
        at = (chunks // self._umem.chunk_size).astype(np.intp)
        frames[at, XDP_PACKET_HEADROOM:end] = self._packets[:burst]
        descs = np.zeros(burst, DESC)
        descs["addr"], descs["len"] = chunks + XDP_PACKET_HEADROOM, self._packets.shape[1]
        self._ports[0].load(descs)

    def _turns(self, turns: int, meter: TurnMeter | None) -> None:
        """Turns with what `Worker.run` does about the meter; without one, nothing.

        A run begins in the middle between two measured turns.
        """
        turn, unmeasured = self._engine.turn, MEASURED_EVERY // 2
        if meter is None:
            for _ in itertools.repeat(None, turns):
                turn(1)
            return
        for _ in itertools.repeat(None, turns):
            if unmeasured:
                unmeasured -= 1
            else:
                _, unmeasured = meter.begin()
            received = turn(1)
            if meter.on:
                meter.end(received)


def measure(runs: int) -> list[Figure]:
    """All figures."""
    bench = Bench()
    gc.collect()
    gc.freeze()  # as workers do
    figures = []
    for burst in BURSTS:
        times: dict[str, list[float]] = {state: [] for state in STATES}
        for state in STATES:
            bench.run(state, burst)
        for number in range(runs):
            for state in STATES if number % 2 else reversed(STATES):
                times[state].append(bench.run(state, burst))
        for state, found in times.items():
            figures.append(_figure(state, burst, "ns/turn", found))
        on, off = (_undisturbed(times[state]) for state in ("on", "off"))
        figures.append(_figure("on: cost", burst, "%", [100 * (on / off - 1)]))
    return figures


def _undisturbed(runs: list[float]) -> float:
    fastest = sorted(runs)[: max(len(runs) // 10, 1)]
    return statistics.mean(fastest)


def _figure(work: str, burst: int, unit: str, runs: list[float]) -> Figure:
    return Figure(
        bench="runtime",
        work=work,
        burst=burst,
        bindings=LEASES,
        frame=INNER_LEN,
        unit=unit,
        runs=runs,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("runtime", __doc__, 200)
    parser.add_argument("--quick", action="store_true", help="three runs only")
    args = parser.parse_args(argv)
    stay_on_one_cpu()
    figures = measure(3 if args.quick else args.runs)
    report("dstmctl runtime on and off, one core, in memory", figures, args)


if __name__ == "__main__":
    main()
