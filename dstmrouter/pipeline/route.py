"""Routing of packets that left their tunnel: longest prefix, next hop, Ethernet header (R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import inner, reasons
from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.hops import HOP, HopState
from dstmrouter.pipeline.outcome import Outcome, Send, Tables, by_port
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.decide import Mask, Reason
    from dstmrouter.pipeline.egress import PortWriter
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import Index, Records


_GLEAN: Final = constant(HopState.GLEAN, np.uint8)
_RESOLVED: Final = constant(HopState.RESOLVED, np.uint8)


class Router4:
    """Sends IPv4 packets towards the Internet; holds views only."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.follow([], np.zeros(0, np.int64))

    def follow(self, writers: list[PortWriter], mtus: npt.NDArray[np.int64]) -> None:
        """Take over what ports are like now; an MTU of 0 is that of a port there is not."""
        self._writers, self._mtus = writers, mtus
        self._least_mtu = constant(min(mtus[mtus > 0], default=0), np.int64)

    def forward(self, rows: Index, packets: Inner, outcome: Outcome) -> None:
        """Decrement the TTL of packets and send them to their next hops."""
        rows, packets, hops = self._admitted(rows, packets, [inner.ttl_check(packets)], outcome)
        if len(rows):
            inner.decrement_ttl(packets)
            self._write(rows, packets, hops, outcome)

    def originate(self, rows: Index, packets: Inner, outcome: Outcome) -> None:
        """Send packets of our own to their next hops; their TTL stays."""
        rows, packets, hops = self._admitted(rows, packets, [], outcome)
        if len(rows):
            self._write(rows, packets, hops, outcome)

    def mtus(self, dst: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """MTUs of the links that destinations are reached by, octets, shape (n,)."""
        hops = self._tables.hops.take(self._tables.routes4.lookup(dst))
        return self._mtus.take(hops["port"])

    def _admitted(
        self, rows: Index, packets: Inner, checks: list[tuple[Mask, Reason]], outcome: Outcome
    ) -> tuple[Index, Inner, Records]:
        """Look up next hops; the packets that have one, and those, dtype HOP."""
        words = self._tables.hops.words.take(self._tables.routes4.lookup(packets.dst))
        hops = words.view(HOP)
        state = hops["state"]
        checks.append((state != _RESOLVED, lambda: reasons.NO_HOP.take(state)))
        if np.count_nonzero(packets.total_len > self._least_mtu):
            too_big = packets.total_len > self._mtus.take(hops["port"])
            checks.append((too_big, Verdict.DROP_TOO_BIG_V4))
        keep = survivors(checks, outcome.verdicts, rows)
        if keep is None:
            return rows, packets, hops
        outcome.gleaned.append(packets.dst[state == _GLEAN])
        return rows[keep], packets.take(keep), words[keep].view(HOP)

    def _write(self, rows: Index, packets: Inner, hops: Records, outcome: Outcome) -> None:
        for port, part in by_port(hops["port"]):
            writer = self._writers[port]
            at = packets.at[part]
            writer.write_link(at, hops["mac"][part], packets.header["octets"][part])
            before = writer.link_len
            outcome.sends.append(
                Send(port, rows[part], at - before, packets.total_len[part] + before)
            )
