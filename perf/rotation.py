"""Frames in rotation: laid out as they arrive, walked over in bursts, as a worker does.

Frames lie in frame memory as AF_XDP leaves them, in the order of a pool that has been in use.
Before each walk they are laid out afresh, because forwarding changes them; only the walk is timed,
and that by the CPU time of the process. Nothing is sent: what a port costs is measured by
`perf.wire`.
"""

from __future__ import annotations

import statistics
import time
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.replay import Side, build_tables
from dstmrouter.io.umem import XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.limits import TICKS
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from perf.cases import COMPILED, IMIX
from perf.packets import decap_frames, encap_frames, scatter_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.daemon.engine import Steps
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.outcome import Outcome, Tables
    from perf.cases import Case
    from perf.holdings import Holdings
    from perf.packets import Matrix

POOL: Final = IPv4Network("10.0.0.0/12")  # 1,048,576 addresses
TEP6: Final = IPv6Address("2001:db8:ffff::1")
RULES: Final = TunnelRules(tep6=(TEP6,), tep4=IPv4Address("192.0.2.1"))
SPARE: Final = 1024  # frames for packets that the pipeline makes
_PACKETS: Final = 262_144  # of a run, at least: the first ones after another case find caches cold
_BURSTS: Final = 256  # of a walk, at most: small ones take long
_TICKS_S: Final = 8 / TICKS  # of a run in which errors are sent, so that tokens come so often


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


class Rotation:
    """The frames of one case, and what they go through."""

    spare = SPARE

    def __init__(self, case: Case, holdings: Holdings, tables: Tables) -> None:
        self.umem = Umem(case.frames + self.spare)
        self.umem.pool.take(case.frames)  # the first ones, which the packets lie in
        memory = self.umem.memory
        self.forwarder: Steps = Forwarder(FrameMemory(memory), tables, RULES, self.umem.pool)
        if case.engine == COMPILED:
            self.forwarder = CompiledForwarder(memory, tables, RULES, self.forwarder)
        self.counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        self._usage = tables.usage.values[0]
        self.port = 1 if case.way == "decap" else 0
        # A clean case is compared with one that sends errors: short runs miss the host's pauses.
        self._least_s = _TICKS_S if case.unbound or case.rings else 0
        self.worked_s = 0.0  # the clock of the steps: pauses between walks fill no token buckets
        rng = np.random.default_rng(7)
        unbound = rng.permutation(case.frames)[: round(case.unbound * case.frames)]
        self._kinds = list(_kinds(case, holdings, unbound, rng))
        self._rng, self._scattered = rng, list[tuple["Index", "Matrix"]]()  # new sources each walk
        # The clean case that packets to nobody are compared with gets some, too: writing them
        # leaves the caches in another state, which is 3 % of a walk.
        anew = np.arange(case.frames // 100) if case.rings and not case.unbound else unbound
        for rows, packets in self._kinds if case.way == "encap" and not case.one_source else []:
            found = np.isin(rows, anew)
            if found.any():
                self._scattered.append((rows[found], packets[found]))
        self.bursts = self._cut(case, rng)
        self.packets = sum(len(at) for at, _ in self.bursts)
        self._walks = max(1, min(_PACKETS, 4 * case.burst * _BURSTS) // self.packets)
        forwarded = Verdict.DECAPSULATED if case.way == "decap" else Verdict.ENCAPSULATED
        self._expected = [forwarded, Verdict.DROP_NO_BINDING]

    def run(self) -> float:
        """Nanoseconds of CPU time for a packet."""
        started_s, times, before = self.worked_s, list[float](), self.done()
        while len(times) < self._walks or self.worked_s - started_s < self._least_s:
            times.append(self.walk())
        self.finish()
        done, expected = self.done() - before, len(times) * self.packets
        assert done == expected, f"{done} of {expected} packets as expected"
        return statistics.fmean(times)

    def _cut(self, case: Case, rng: np.random.Generator) -> list[tuple[Index, Index]]:
        """Where the frames of each burst start, and their octets."""
        length = np.empty(case.frames, np.int64)
        for rows, packets in self._kinds:
            length[rows] = packets.shape[1]
        order = rng.permutation(case.frames).astype(np.intp)
        at = order * self.umem.chunk_size + XDP_PACKET_HEADROOM
        firsts = range(0, min(case.frames, case.burst * _BURSTS), case.burst)
        parts = (slice(first, first + case.burst) for first in firsts)
        return [(at[part].copy(), length[order[part]]) for part in parts]

    def walk(self) -> float:
        """Nanoseconds of CPU time for a packet of one walk over all frames."""
        self.lay_out()
        now_s = self.worked_s
        start = time.process_time_ns()
        for at, length in self.bursts:
            outcome = self.forwarder.process(at, length, self.port, now_s)
            for charge in outcome.charges:
                charge.settle(self._usage, outcome.verdicts)
            self.counters.count(0, outcome.verdicts, length, outcome.octets)
            if outcome.made or outcome.noted:
                self._finish(outcome)
        elapsed = time.process_time_ns() - start
        self.worked_s += elapsed / 1e9
        return elapsed / self.packets

    def finish(self) -> None:
        """Let everything be done about the last packets, which is not timed."""

    def done(self) -> int:
        """How many packets have met the fate they should."""
        return int(self.counters.totals()[0, self._expected].sum())

    def _finish(self, outcome: Outcome) -> None:
        """What an engine does besides."""
        for noted in outcome.noted:
            self.counters.add(0, noted.verdict, noted.packets, noted.octets)
        for made in outcome.made:
            self.counters.count(0, made.verdicts, made.length)
            self.umem.pool.give(made.at.astype(np.uint64))

    def lay_out(self) -> None:
        """Put all packets into their frames as they arrive."""
        frames = self.umem.octets.reshape(self.umem.frames, -1)
        for rows, packets in self._kinds:
            end = XDP_PACKET_HEADROOM + packets.shape[1]
            frames[rows, XDP_PACKET_HEADROOM:end] = packets
        for rows, packets in self._scattered:
            end = XDP_PACKET_HEADROOM + packets.shape[1]
            frames[rows, XDP_PACKET_HEADROOM:end] = scatter_sources(packets, self._rng)


def _kinds(
    case: Case, holdings: Holdings, unbound: Index, rng: np.random.Generator
) -> Iterator[tuple[Index, Matrix]]:
    """Frames of one length each, by their numbers, and what they hold; `unbound` ones to nobody."""
    flows = min(case.flows, case.bindings)
    clients = rng.choice(case.bindings, flows, replace=False).astype(np.uint32)
    clients = clients[np.arange(case.frames) % flows]
    ports = holdings.ports(clients, rng)
    if len(unbound):
        clients[unbound] = rng.integers(case.bindings, POOL.num_addresses, len(unbound))
    for rows, inner_len in _lengths(case, rng):
        ipv4, theirs = holdings.ipv4(clients[rows]), ports[rows]
        if case.way == "decap":
            client6 = holdings.client6(clients[rows])
            yield rows, decap_frames(ipv4, theirs, client6, TEP6, inner_len, rng)
            continue
        yield rows, encap_frames(ipv4, theirs, inner_len, rng)


def _lengths(case: Case, rng: np.random.Generator) -> Iterator[tuple[Index, int]]:
    """Which frames have inner packets of how many octets."""
    sizes = IMIX if case.inner is None else ((case.inner, 1),)
    kinds = np.repeat([octets for octets, _ in sizes], [count for _, count in sizes])
    of_frame = rng.permutation(np.resize(kinds, case.frames))
    for octets, _ in sizes:
        yield np.flatnonzero(of_frame == octets), octets
