"""What it costs a worker that packets can be watched and filtered: nanoseconds a packet.

    python -m perf watching [--json] [--out FILE] [--runs N] [--quick]

The engine of a worker over memory ports, bursts of 1,024, the compiled pass, encapsulation of
64-octet packets. "nobody watches" is a router as it usually runs, "no tap" one that could not be
watched at all. "a verdict that does not come" is the worst that a watch can do: every frame is
copied before it is known that nobody wants it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import BURST, Engine
from dstmrouter.daemon.filtering import filtered
from dstmrouter.daemon.tap import Tap
from dstmrouter.daemon.tapboard import SLOTS, TapBoard
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.pcapfilter import compile_filter
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.bindings import FOREVER
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from perf.figures import Figure, stay_on_one_cpu
from perf.holdings import Holdings
from perf.packets import encap_frames
from perf.results import report, shared_options
from perf.rotation import POOL, RULES, build

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAMES: Final = 8 * BURST
LEASES: Final = 65_536
INNER_LEN: Final = 64
BURSTS_A_RUN: Final = 64
NOTHING: Final = np.zeros(256, np.bool_)
ALL: Final = np.ones(256, np.bool_)
SIMPLE: Final = compile_filter("udp")
TYPICAL: Final = compile_filter("udp and dst port 53 and not src net 192.0.2.0/24")
STATES: Final = {
    "no tap": None,
    "nobody watches": None,
    "a verdict that does not come": (NOTHING, b""),
    "a filter that accepts nothing": (ALL, compile_filter("arp")),
    "trace, the ring always empty": (ALL, b""),
}
FILTERS: Final = {"filter_in udp": SIMPLE, "filter_in with ports and prefix": TYPICAL}


class Bench:
    """An engine with one kind of watch or filter."""

    def __init__(self, state: str) -> None:
        self._umem = umem = Umem(FRAMES)
        holdings = Holdings(POOL, LEASES, sets=False)
        tables = build(holdings)
        steps = Forwarder(FrameMemory(umem.memory), tables, RULES, umem.pool)
        compiled = CompiledForwarder(umem.memory, tables, RULES, steps)
        counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        slots = 2 * BURST
        self._ports = [MemoryPort(umem, name, record=False, slots=slots) for name in ("in", "out")]
        code = FILTERS.get(state, b"")
        behind = filtered(compiled, umem.memory, [(code, b""), (b"", b"")])
        self._engine = Engine(umem, self._ports, behind, counters)
        self._board = TapBoard(bytearray(TapBoard.size(1)), 1)
        if state != "no tap":
            self._engine.tap = Tap(self._board, 0, umem.memory)
        watch = STATES.get(state)
        if watch is not None:
            self._board.arm(*watch, FOREVER)
        rng = np.random.default_rng(7)
        clients = rng.integers(0, LEASES, BURST, dtype=np.uint32)
        ports = holdings.ports(clients, rng)
        self._packets = encap_frames(holdings.ipv4(clients), ports, INNER_LEN, rng)
        self._engine.turn(1)

    def run(self) -> float:
        """Nanoseconds of CPU time a packet; frames are laid out between bursts."""
        octets, chunk = self._umem.octets, self._umem.chunk_size
        spent = 0
        for _ in range(BURSTS_A_RUN):
            chunks = self._umem.pool.take(BURST)
            frames = octets.reshape(FRAMES, chunk)
            end = XDP_PACKET_HEADROOM + self._packets.shape[1]
            frames[(chunks // chunk).astype(np.intp), XDP_PACKET_HEADROOM:end] = self._packets
            descs = np.zeros(BURST, DESC)
            descs["addr"], descs["len"] = chunks + XDP_PACKET_HEADROOM, self._packets.shape[1]
            self._ports[0].load(descs)
            start = time.process_time_ns()
            self._engine.turn(1)
            spent += time.process_time_ns() - start
            self._board.take(0, SLOTS)
        return spent / BURSTS_A_RUN / BURST


def measure(runs: int) -> list[Figure]:
    """All figures; the states take turns, so that a slow moment of the machine hits all."""
    benches = {state: Bench(state) for state in (*STATES, *FILTERS)}
    times: dict[str, list[float]] = {state: [] for state in benches}
    for bench in benches.values():
        bench.run()
    for _ in range(runs):
        for state, bench in benches.items():
            times[state].append(bench.run())
    return [
        Figure(
            bench="watching",
            work=state,
            burst=BURST,
            bindings=LEASES,
            frame=INNER_LEN,
            unit="ns/packet",
            runs=found,
        )
        for state, found in times.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("watching", __doc__, 15)
    parser.add_argument("--quick", action="store_true", help="three runs only")
    args = parser.parse_args(argv)
    stay_on_one_cpu()
    figures = measure(3 if args.quick else args.runs)
    report("watching and filtering, one core, in memory", figures, args)


if __name__ == "__main__":
    main()
