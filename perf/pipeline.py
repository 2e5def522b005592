"""Packets per second through the pipeline on one core, in memory: all checks, counters included.

    python -m perf.pipeline [--json] [--runs N] [--size OCTETS] [--quick]

Frames lie in frame memory as AF_XDP leaves them. A run walks over all frames in bursts, as a worker
does; before each run the frames are laid out afresh, because forwarding changes them. Only the
walk is timed. Nothing is sent: what a port costs is measured by `perf.wire`.

"unbound" is a flood from all over the Internet to addresses that nobody holds, with ICMP errors on
and their default limits: 1,000 host unreachable a second are made, and the others counted. "One
source" has 10 a second, and the limit of the prefix to be asked about each packet.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.replay import Side, build_tables
from dstmrouter.io.umem import XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from perf.figures import Figure, show
from perf.holdings import Holdings
from perf.packets import decap_frames, encap_frames, scatter_sources

if TYPE_CHECKING:
    from dstmrouter.daemon.engine import Steps
    from dstmrouter.pipeline.outcome import Tables

FRAMES: Final = 2048  # in rotation, as many as a receive ring holds by default
POOL: Final = IPv4Network("10.0.0.0/12")  # 1,048,576 addresses
TEP6: Final = IPv6Address("2001:db8:ffff::1")
RULES: Final = TunnelRules(tep6=(TEP6,), tep4=IPv4Address("192.0.2.1"))
BURSTS: Final = (1, 16, 64, 256, 1024)
BINDINGS: Final = (1, 65_536, 1_000_000)
SPARE: Final = 1024  # frames for packets that the pipeline makes
SETS: Final = ", port sets"
UNBOUND: Final = "unbound"
ONE_SOURCE: Final = UNBOUND + ", one source"


class Work(NamedTuple):
    """What is measured; the name alone stands for the compiled engine, which routers use."""

    name: str
    engine: str = CompiledForwarder.engine

    @property
    def sets(self) -> bool:
        """Whether clients have port sets of addresses."""
        return self.name.endswith(SETS)

    def __str__(self) -> str:
        return self.name if self.engine == CompiledForwarder.engine else f"{self.name}, numpy alone"


WORKS: Final = tuple(
    Work(name, engine)
    for engine in (CompiledForwarder.engine, Forwarder.engine)
    for name in ("encap", "decap", "encap" + SETS, "decap" + SETS, UNBOUND, ONE_SOURCE)
)


def build(holdings: Holdings) -> Tables:
    """Tables with leases, a default route by port 0, all clients behind port 1."""
    sides = [
        Side(
            read=None,
            write=None,
            mac=bytes.fromhex(f"02000000000{port}"),
            next_mac=bytes.fromhex(f"02000000010{port}"),
        )
        for port in (0, 1)
    ]
    return build_tables(RULES, [POOL], holdings.columns(TEP6), sides)


class Bench:
    """One kind of work on one set of frames."""

    def __init__(self, tables: Tables, work: Work, holdings: Holdings, inner_len: int) -> None:
        self._umem = Umem(FRAMES + SPARE)
        self._umem.pool.take(FRAMES)  # the first ones, which the packets lie in
        memory = self._umem.memory
        self._forwarder: Steps = Forwarder(FrameMemory(memory), tables, RULES, self._umem.pool)
        if work.engine == CompiledForwarder.engine:
            self._forwarder = CompiledForwarder(memory, tables, RULES, self._forwarder)
        self._counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        rng = np.random.default_rng(7)
        unbound = work.name.startswith(UNBOUND)
        numbers = (holdings.count, POOL.num_addresses) if unbound else (0, holdings.count)
        clients = rng.integers(*numbers, FRAMES, dtype=np.uint32)
        ipv4, ports = holdings.ipv4(clients), holdings.ports(clients, rng)
        decap = work.name.startswith("decap")
        if decap:
            client6 = holdings.client6(clients)
            self._packets = decap_frames(ipv4, ports, client6, TEP6, inner_len, rng)
        else:
            self._packets = encap_frames(ipv4, ports, inner_len, rng)
        if work.name == UNBOUND:
            scatter_sources(self._packets, rng)
        self._expected = Verdict.DECAPSULATED if decap else Verdict.ENCAPSULATED
        if unbound:
            self._expected = Verdict.DROP_NO_BINDING
        self._port = 1 if decap else 0
        self._worked_s = 0.0
        order = rng.permutation(FRAMES).astype(np.intp)  # as frames come out of a busy pool
        self._at = order * self._umem.chunk_size + XDP_PACKET_HEADROOM
        self._length = np.full(FRAMES, self._packets.shape[1], np.int64)

    def lay_out(self) -> None:
        """Put the packets into the frames as they arrive."""
        frames = self._umem.octets.reshape(FRAMES + SPARE, -1)[:FRAMES]
        end = XDP_PACKET_HEADROOM + self._packets.shape[1]
        frames[:, XDP_PACKET_HEADROOM:end] = self._packets

    def run(self, burst: int) -> float:
        """Nanoseconds a packet over all frames (fewer for small bursts)."""
        self.lay_out()
        frames = min(FRAMES, burst * 256)
        before = int(self._counters.totals()[0, self._expected])
        zero = time.monotonic() - self._worked_s  # pauses between runs fill no token buckets
        start = time.process_time_ns()
        for first in range(0, frames, burst):
            at = self._at[first : first + burst]
            length = self._length[first : first + burst]
            now_s = time.monotonic() - zero
            outcome = self._forwarder.process(at, length, self._port, now_s)
            self._counters.count(0, outcome.verdicts, length)
            for made in outcome.made:
                self._counters.count(0, made.verdicts, made.length)
                self._umem.pool.give(made.at.astype(np.uint64))
        elapsed = time.process_time_ns() - start
        self._worked_s = time.monotonic() - zero
        done = int(self._counters.totals()[0, self._expected]) - before
        assert done == frames, f"{done} of {frames} packets forwarded"
        return elapsed / frames


def measure(
    works: tuple[Work, ...], inner_len: int, runs: int, bindings: tuple[int, ...]
) -> list[Figure]:
    """All figures; the works take turns, so that a slow moment of the machine hits both."""
    figures = []
    for leases in bindings:
        holdings = {sets: Holdings(POOL, leases, sets=sets) for sets in (False, True)}
        tables = {sets: build(held) for sets, held in holdings.items()}
        benches = {
            work: Bench(tables[work.sets], work, holdings[work.sets], inner_len) for work in works
        }
        for burst in BURSTS:
            times: dict[Work, list[float]] = {work: [] for work in works}
            for bench in benches.values():
                bench.run(burst)
            for _ in range(runs):
                for work, bench in benches.items():
                    times[work].append(bench.run(burst))
            for work, ns in times.items():
                figure = Figure(
                    bench="pipeline",
                    work=str(work),
                    burst=burst,
                    bindings=leases,
                    frame=inner_len,
                    unit="ns/packet",
                    runs=ns,
                )
                mpps = [1000 / t for t in ns]
                figures += [dataclasses.replace(figure, unit="Mpps", runs=mpps), figure]
    return figures


def main() -> None:
    """Parse options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON object per line and figure")
    parser.add_argument("--runs", type=int, default=15, help="runs per figure (default 15)")
    parser.add_argument(
        "--size", type=int, default=64, help="octets of the inner packet (default 64)"
    )
    parser.add_argument("--quick", action="store_true", help="65,536 bindings only")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures = measure(WORKS, args.size, args.runs, BINDINGS[1:2] if args.quick else BINDINGS)
    show("pipeline, one core, in memory", figures, as_json=args.json)


if __name__ == "__main__":
    main()
