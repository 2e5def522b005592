"""IPv4 packets into the tunnels of the clients that hold their destinations (R2-R8, R18, R30)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import ecn, inner, reasons
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.flow import FlowLabels
from dstmrouter.pipeline.hops import HOP, HopState
from dstmrouter.pipeline.outcome import Outcome, Send, Tables, by_port
from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN, TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ipv4, ipv6

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.decide import Checks
    from dstmrouter.pipeline.egress import PortWriter
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

_VERSION: Final = np.uint32(6 << ipv6.VERSION_SHIFT)
_TRAFFIC_CLASS_SHIFT: Final = np.uint32(ipv6.TRAFFIC_CLASS_SHIFT)
# An IntEnum member in a comparison costs numpy 8 us a burst, a scalar of the column's type 0.5.
_BOUND: Final = np.uint8(RowKind.BOUND)
_RESOLVED: Final = np.uint8(HopState.RESOLVED)


class Encapsulator:
    """Looks up clients and writes outer headers; holds views only."""

    def __init__(self, memory: FrameMemory, tables: Tables, rules: TunnelRules) -> None:
        self._memory = memory
        self._tables = tables
        self._labels = FlowLabels(memory, rules.flow_key)
        self._fixed_label = None if rules.flow_label is None else np.uint32(rules.flow_label)
        self._class_mask = np.uint32(0xFF if rules.dscp_uniform else ecn.ECN_MASK)
        self._tunnel_mtu = np.int64(rules.path_mtu - TUNNEL_HEADER_LEN)
        self.writers: list[PortWriter] = []

    def forward(
        self, rows: Index, packets: Inner, checks: Checks, now_s: int, outcome: Outcome
    ) -> None:
        """Decrement the TTL of packets (R4) and send them into tunnels.

        `checks` are those that the packets have still to pass, besides the ones made here.
        """
        clients = self._tables.bindings.look_up(packets.dst)
        hops = self._tables.hops.words.take(clients["hop"]).view(HOP)
        checks = (
            *checks,
            *self._binding_checks(clients, now_s),
            inner.ttl_check(packets),
            *self._way_checks(packets, hops),
        )
        keep = survivors(checks, outcome.verdicts, rows)
        if keep is not None:
            rows, packets, clients, hops = rows[keep], packets.take(keep), clients[keep], hops[keep]
        if len(rows):
            inner.decrement_ttl(packets)
            inner.write_back(self._memory, packets)
            self._write(rows, packets, clients, hops, outcome)

    def answer(self, rows: Index, packets: Inner, now_s: int, outcome: Outcome) -> None:
        """Send packets of our own into tunnels; their TTL stays."""
        clients = self._tables.bindings.look_up(packets.dst)
        hops = self._tables.hops.words.take(clients["hop"]).view(HOP)
        checks = (*self._binding_checks(clients, now_s), *self._way_checks(packets, hops))
        keep = survivors(checks, outcome.verdicts, rows)
        if keep is not None:
            rows, packets, clients, hops = rows[keep], packets.take(keep), clients[keep], hops[keep]
        if len(rows):
            inner.write_back(self._memory, packets)
            self._write(rows, packets, clients, hops, outcome)

    def _binding_checks(self, clients: Records, now_s: int) -> Checks:
        """R2, R3, R30: the destination must be bound, and its lifetime not be over."""
        kind = clients["kind"]
        unbound = (kind != _BOUND) | (clients["expires"] <= np.uint32(now_s))
        return ((unbound, (reasons.NOT_BOUND, kind)),)

    def _way_checks(self, packets: Inner, hops: Records) -> Checks:
        """R17, R18, and a resolved next hop."""
        state = hops["state"]
        no_hop = (state != _RESOLVED, (reasons.NO_HOP, state))
        too_big = packets.total_len > self._tunnel_mtu
        if not np.count_nonzero(too_big):
            return (no_hop,)
        stays_whole = packets.header["fragment"] & ipv4.FLAG_DF != 0
        return (
            (too_big & stays_whole, Verdict.DROP_TOO_BIG),
            (too_big, Verdict.DROP_FRAGMENT_OUTER),
            no_hop,
        )

    def _write(
        self, rows: Index, packets: Inner, clients: Records, hops: Records, outcome: Outcome
    ) -> None:
        vtc_flow: npt.NDArray[np.uint32] = packets.header["tos"] & self._class_mask  # R7
        vtc_flow <<= _TRAFFIC_CLASS_SHIFT
        vtc_flow |= _VERSION
        vtc_flow |= self._labels.of(packets) if self._fixed_label is None else self._fixed_label
        for port, part in by_port(hops["port"]):
            writer = self.writers[port]
            at, total_len = packets.at[part], packets.total_len[part]
            writer.write_tunnel(at, hops["mac"][part], clients[part], vtc_flow[part], total_len)
            before = TUNNEL_HEADER_LEN + writer.link_len
            outcome.sends.append(Send(port, rows[part], at - before, total_len + before))
