"""IPv4 packets into the tunnels of the clients that hold their destinations (R2-R8, R18, R30)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import ecn, inner, reasons
from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.egress import TunnelFill
from dstmrouter.pipeline.flow import FlowLabels
from dstmrouter.pipeline.hops import HOP, HopState
from dstmrouter.pipeline.memory import pick
from dstmrouter.pipeline.outcome import Outcome, Send, Tables, by_port
from dstmrouter.pipeline.portkeys import Side
from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN, TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ipv4, ipv6
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.decide import Checks
    from dstmrouter.pipeline.egress import PortWriter
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import Index, Records
    from dstmrouter.pipeline.portsets import PortSets

_RESOLVED: Final = constant(HopState.RESOLVED, np.uint8)


class Encapsulator:
    """Looks up clients and writes outer headers; holds views only."""

    def __init__(self, tables: Tables, port_sets: PortSets, rules: TunnelRules) -> None:
        self._tables = tables
        self._port_sets = port_sets
        self._labels = FlowLabels(rules.flow_key)
        self._fixed_label = None if rules.flow_label is None else np.uint64(rules.flow_label)
        self._first_words = first_words(dscp_uniform=rules.dscp_uniform)
        self._tunnel_mtu = constant(rules.path_mtu - TUNNEL_HEADER_LEN, np.int64)
        self.writers: list[PortWriter] = []

    def forward(
        self, rows: Index, packets: Inner, checks: Checks, now_s: int, outcome: Outcome
    ) -> None:
        """Decrement the TTL of packets (R4) and send them into tunnels.

        `checks` are those that the packets have still to pass, besides the ones made here.
        """
        checks = (*checks, inner.ttl_check(packets))
        for part in self._admitted(rows, packets, checks, now_s, outcome):
            inner.decrement_ttl(part.packets)
            self._write(part, outcome)

    def answer(self, rows: Index, packets: Inner, now_s: int, outcome: Outcome) -> None:
        """Send packets of our own into tunnels; their TTL stays."""
        for part in self._admitted(rows, packets, (), now_s, outcome):
            self._write(part, outcome)

    def _admitted(
        self, rows: Index, packets: Inner, checks: Checks, now_s: int, outcome: Outcome
    ) -> list[_Way]:
        """Look up the ways of packets: one item with those that have one, or none."""
        clients = self._port_sets.look_up(packets, Side.DST)
        words = self._tables.hops.words.take(clients["hop"])
        hops = words.view(HOP)
        kind, state = clients["kind"], hops["state"]
        too_big = packets.total_len > self._tunnel_mtu
        fragment = packets.header["fragment"]
        checks = (
            *checks,
            (
                clients["expires"] <= np.uint32(now_s),  # R2, R3, R30
                lambda: reasons.NOT_BOUND.take(kind),
            ),
            (too_big, lambda: _why_too_big(fragment)),  # R17, R18
            (state != _RESOLVED, lambda: reasons.NO_HOP.take(state)),
        )
        keep = survivors(checks, outcome.verdicts, rows)
        if keep is None:
            return [_Way(rows, packets, clients, hops)]
        if not len(keep):
            return []
        return [_Way(rows[keep], packets.take(keep), pick(clients, keep), words[keep].view(HOP))]

    def _write(self, way: _Way, outcome: Outcome) -> None:
        vtc_flow = self._first_words.take(way.packets.header["tos"])  # R7
        label = self._labels.of(way.packets) if self._fixed_label is None else self._fixed_label
        vtc_flow |= label  # R8
        hops, packets = way.hops, way.packets
        for port, part in by_port(hops["port"]):
            writer = self.writers[port]
            at, total_len = packets.at[part], packets.total_len[part]
            fill = TunnelFill(
                hops["mac"][part], way.clients[part], vtc_flow[part], packets.header["octets"][part]
            )
            writer.write_tunnel(at, total_len, fill)
            before = TUNNEL_HEADER_LEN + writer.link_len
            outcome.sends.append(Send(port, way.rows[part], at - before, total_len + before))


@dataclasses.dataclass(slots=True)
class _Way:
    """Packets that may leave, and by which way."""

    rows: Index
    packets: Inner
    clients: Records  # dtype ROW
    hops: Records  # dtype HOP


def first_words(*, dscp_uniform: bool) -> npt.NDArray[np.uint64]:
    """First 32 bits of the outer header without flow label, by inner TOS (R5, R7)."""
    tos = np.arange(256, dtype=np.uint64)
    if not dscp_uniform:
        tos &= np.uint64(ecn.ECN_MASK)
    return np.uint64(6 << ipv6.VERSION_SHIFT) | tos << np.uint64(ipv6.TRAFFIC_CLASS_SHIFT)


def _why_too_big(fragment: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    stays_whole = fragment & ipv4.FLAG_DF != 0
    verdicts = np.where(stays_whole, Verdict.DROP_TOO_BIG, Verdict.DROP_FRAGMENT_OUTER)
    return verdicts.astype(np.uint8)
