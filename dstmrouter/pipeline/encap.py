"""IPv4 packets into the tunnels of the clients that hold their destinations: R2-R9, R17-R21."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import ecn, inner, reasons
from dstmrouter.pipeline.bindings import over
from dstmrouter.pipeline.decide import any_of, survivors
from dstmrouter.pipeline.egress import PortWriter, TunnelFill
from dstmrouter.pipeline.flow import FlowLabels
from dstmrouter.pipeline.mss import MssClamp
from dstmrouter.pipeline.outcome import Made, Outcome, Send, Tables, by_port
from dstmrouter.pipeline.portkeys import Side
from dstmrouter.pipeline.usage import TO_CLIENT, Charge
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.pipeline.way import Way
from dstmrouter.wire import ipv4, ipv6
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.decide import Checks
    from dstmrouter.pipeline.fragment4 import Fragmenter4
    from dstmrouter.pipeline.fragment6 import Fragmenter6
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records
    from dstmrouter.pipeline.portsets import PortSets
    from dstmrouter.pipeline.rules import TunnelRules

_NEVER: Final = constant(0, np.uint16)  # no flag keeps a packet whole


class Encapsulator:
    """Looks up clients and writes outer headers; holds views only."""

    def __init__(
        self,
        memory: FrameMemory,
        tables: Tables,
        port_sets: PortSets,
        rules: TunnelRules,
        cutters: tuple[Fragmenter6, Fragmenter4],
    ) -> None:
        self._memory = memory
        self._tables = tables
        self._rules = rules
        self._port_sets = port_sets
        self._labels = FlowLabels(rules.flow_key)
        self._fixed_label = None if rules.flow_label is None else np.uint64(rules.flow_label)
        self._first_words = first_words(rules)
        self._tunnel_mtu = constant(rules.tunnel_mtu, np.int64)
        self._df = ipv4.FLAG_DF if rules.df_strict else _NEVER
        self._fragmenter6, self._fragmenter4 = cutters
        self._mss = None if rules.mss is None else MssClamp(memory, rules.mss)
        self.writers: list[PortWriter] = []

    def follow(self, ports: npt.NDArray[np.void]) -> None:
        """Take over what ports are like now; dtype PORT."""
        self.writers = [PortWriter(self._memory, port, self._rules) for port in ports]
        self._fragmenter6.follow(ports)

    def forward(
        self, rows: Index, packets: Inner, checks: Checks, now_s: int, outcome: Outcome
    ) -> None:
        """Decrement the TTL of packets (R4) and send them into tunnels.

        `checks` are those that the packets have still to pass, besides the ones made here.
        """
        checks = (*checks, inner.ttl_check(packets))
        way, limits = self._admitted(rows, packets, checks, now_s, outcome)
        if len(way.rows):
            inner.decrement_ttl(way.packets)
            if self._mss is not None:
                self._mss.clamp(way.packets)
            self._send(way, limits, outcome)
            if self._tables.usage.on:
                charge = Charge(TO_CLIENT, way.rows, way.bindings, way.packets.total_len)
                outcome.charges.append(charge)

    def answer(self, rows: Index, packets: Inner, now_s: int, outcome: Outcome) -> None:
        """Send packets of our own into tunnels; their TTL stays."""
        way, limits = self._admitted(rows, packets, (), now_s, outcome)
        if len(way.rows):
            self._send(way, limits, outcome)

    def _admitted(
        self, rows: Index, packets: Inner, checks: Checks, now_s: int, outcome: Outcome
    ) -> tuple[Way, npt.NDArray[np.int64] | None]:
        """Look up the ways of packets: those that have one, and what fits their tunnels.

        The latter is one for each, or shape () for all, or None if all fit.
        """
        clients, bindings, alike = self._port_sets.find(packets, Side.DST)
        words = self._tables.hops.words_of(clients["hop"], known_alike=alike)
        checks = [
            *checks,
            (over(clients, now_s), lambda: reasons.NOT_BOUND.take(clients["kind"])),  # R2, R3, R30
        ]
        limits = self._limits(clients, now_s)
        big = packets.total_len > limits
        all_fit = not any_of(big)
        if not all_fit:
            refused = big & (packets.header["fragment"] & self._df != 0)
            checks.append((refused, Verdict.DROP_TOO_BIG))  # R17, R18
        checks += reasons.unresolved(words)
        keep = survivors(checks, outcome.verdicts, rows)
        way = Way(rows, packets, clients, bindings, words)
        if keep is not None:
            way, limits = way.take(keep), limits[keep] if limits.ndim else limits
        return way, None if all_fit else limits

    def _limits(self, clients: Records, now_s: int) -> npt.NDArray[np.int64]:
        """R17, R21: octets of packets that fit the tunnels of clients whole."""
        if not self._tables.path_mtus.any_known(now_s):
            return self._tunnel_mtu
        learnt = self._tables.path_mtus.look_up(clients["client6"], now_s)
        limits: npt.NDArray[np.int64]
        limits = np.minimum(learnt - self._rules.overhead, self._tunnel_mtu)
        return limits

    def _send(self, way: Way, limits: npt.NDArray[np.int64] | None, outcome: Outcome) -> None:
        """Send packets whole where they fit, else in pieces."""
        if limits is None:
            self._send_whole(way, outcome)
            return
        big = way.packets.total_len > limits
        limits = np.broadcast_to(limits, big.shape)
        inside = big & self._rules.fragment_inner
        if any_of(inside):
            inside &= way.packets.header["fragment"] & ipv4.FLAG_DF == 0
        for mask, send in ((inside, self._send_cut), (big & ~inside, self._send_fragmented)):
            keep = np.flatnonzero(mask)
            if len(keep):
                send(way.take(keep), limits[keep], outcome)
        keep = np.flatnonzero(~big)
        if len(keep):
            self._send_whole(way.take(keep), outcome)

    def _send_fragmented(self, way: Way, limits: npt.NDArray[np.int64], outcome: Outcome) -> None:
        path_mtus = limits + self._rules.overhead
        self._fragmenter6.send(way, self._vtc_flow(way.packets), path_mtus, outcome)

    def _send_cut(self, way: Way, limits: npt.NDArray[np.int64], outcome: Outcome) -> None:
        """R18: IPv4 fragments, each whole in a packet of its own."""
        verdicts = outcome.verdicts[way.rows]
        cut = self._fragmenter4.cut(way.packets, limits, verdicts)
        verdicts[cut.kept[verdicts[cut.kept] == Verdict.ENCAPSULATED]] = Verdict.FRAGMENTED
        outcome.verdicts[way.rows] = verdicts
        if len(cut.kept):
            way = way.take(cut.kept)
            later = dataclasses.replace(way.take(cut.of), packets=cut.later)
            self._send_whole(later, outcome, made=True)
            self._send_whole(dataclasses.replace(way, packets=cut.first), outcome)

    def _vtc_flow(self, packets: Inner) -> npt.NDArray[np.uint64]:
        """First 32 bits of the IPv6 headers."""
        vtc_flow = self._first_words.take(packets.header["tos"])  # R7
        label = self._labels.of(packets) if self._fixed_label is None else self._fixed_label
        vtc_flow |= label  # R8
        return vtc_flow

    def _send_whole(self, way: Way, outcome: Outcome, *, made: bool = False) -> None:
        vtc_flow, hops = self._vtc_flow(way.packets), way.hops
        for port, part in by_port(hops["port"]):
            writer, some = self.writers[port], way
            macs, words = hops["mac"], vtc_flow
            if not isinstance(part, slice):
                some, macs, words = way.take(part), macs[part], vtc_flow[part]
            at, total_len = some.packets.at, some.packets.total_len
            fill = TunnelFill(macs, some.clients, words, some.packets.header["octets"])
            writer.write_tunnel(at, total_len, fill)
            before = writer.before_inner
            if made:
                verdicts = np.full(len(at), Verdict.SENT_PIECE, np.uint8)
                outcome.made.append(Made(port, verdicts, at - before, total_len + before))
            else:
                outcome.sends.append(Send(port, some.rows, at - before, total_len + before))


def first_words(rules: TunnelRules) -> npt.NDArray[np.uint64]:
    """First 32 bits of the outer header without flow label, by inner TOS (R5, R7)."""
    tos = np.arange(256, dtype=np.uint64)
    if not rules.dscp_uniform:
        tos &= np.uint64(ecn.ECN_MASK)
    if not rules.ecn_copied:
        tos &= ~np.uint64(ecn.ECN_MASK)
    return np.uint64(6 << ipv6.VERSION_SHIFT) | tos << np.uint64(ipv6.TRAFFIC_CLASS_SHIFT)
