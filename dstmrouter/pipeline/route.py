"""Routing of packets that left their tunnel: longest prefix, next hop, Ethernet header (R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import inner, reasons
from dstmrouter.pipeline.decide import any_of, survivors
from dstmrouter.pipeline.egress import PortWriter
from dstmrouter.pipeline.hops import HOP, HopState
from dstmrouter.pipeline.inner import joined
from dstmrouter.pipeline.mss import MssClamp
from dstmrouter.pipeline.outcome import Made, Outcome, Send, Tables, by_port
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ipv4
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from dstmrouter.pipeline.decide import Check
    from dstmrouter.pipeline.fragment4 import Fragmenter4
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.rules import TunnelRules


_GLEAN: Final = constant(HopState.GLEAN, np.uint8)


class Router4:
    """Sends IPv4 packets towards the Internet; holds views only."""

    def __init__(
        self, memory: FrameMemory, tables: Tables, rules: TunnelRules, fragmenter: Fragmenter4
    ) -> None:
        self._memory = memory
        self._tables = tables
        self._rules = rules
        self._fragmenter = fragmenter
        self._mss = None if rules.mss is None else MssClamp(memory, rules.mss)
        self._writers: list[PortWriter] = []
        self._mtus = np.zeros(0, np.int64)
        self._least_mtu = constant(0, np.int64)

    def follow(self, ports: npt.NDArray[np.void]) -> None:
        """Take over what ports are like now, dtype PORT; no port has an MTU of 0."""
        self._writers = [PortWriter(self._memory, port, self._rules) for port in ports]
        self._mtus = mtus = ports["mtu"].astype(np.int64)
        self._least_mtu = constant(min(mtus[mtus > 0], default=0), np.int64)

    def forward(self, rows: Index, packets: Inner, outcome: Outcome) -> None:
        """Decrement the TTL of packets and send them to their next hops."""
        checks: list[Check] = [inner.ttl_check(packets)]
        large = self._some_large(packets)
        rows, packets, words = self._admitted(rows, packets, checks, outcome, large=large)
        if len(rows):
            inner.decrement_ttl(packets)
            if self._mss is not None:
                self._mss.clamp(packets)
            self._send(rows, packets, words, outcome, large=large)

    def originate(self, rows: Index, packets: Inner, outcome: Outcome) -> None:
        """Send packets of our own to their next hops; their TTL stays."""
        large = self._some_large(packets)
        rows, packets, words = self._admitted(rows, packets, [], outcome, large=large)
        if len(rows):
            self._send(rows, packets, words, outcome, large=large)

    def mtus(self, dst: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """MTUs of the links that destinations are reached by, octets, shape (n,)."""
        hops = self._tables.hops.take(self._tables.routes4.lookup(dst))
        return self._mtus.take(hops["port"])

    def _some_large(self, packets: Inner) -> bool:
        """Whether any may be too big for the link it goes to; asked once for all of a burst."""
        return any_of(packets.total_len > self._least_mtu)

    def _admitted(
        self,
        rows: Index,
        packets: Inner,
        checks: list[Check],
        outcome: Outcome,
        *,
        large: bool,
    ) -> tuple[Index, Inner, npt.NDArray[np.uint64]]:
        """Look up next hops; the packets that have one, and those, HOP as words."""
        words = self._tables.hops.words_of(self._tables.routes4.lookup(packets.dst))
        checks += reasons.unresolved(words)
        if large:
            refused = packets.total_len > self._mtus.take(words.view(HOP)["port"])
            refused &= packets.header["fragment"] & ipv4.FLAG_DF != 0
            checks.append((refused, Verdict.DROP_TOO_BIG_V4))
        keep = survivors(checks, outcome.verdicts, rows)
        if keep is None:
            return rows, packets, words
        outcome.gleaned.append(packets.dst[words.view(HOP)["state"] == _GLEAN])
        return rows[keep], packets.take(keep), words[keep]

    def _send(
        self,
        rows: Index,
        packets: Inner,
        words: npt.NDArray[np.uint64],
        outcome: Outcome,
        *,
        large: bool,
    ) -> None:
        """Send packets, in pieces what is too big for its link."""
        if large:
            rows, packets, words = self._cut(rows, packets, words, outcome)
        for port, part, at, length in self._written(packets, words):
            some = rows if isinstance(part, slice) else rows[part]
            outcome.sends.append(Send(port, some, at, length))

    def _cut(
        self, rows: Index, packets: Inner, words: npt.NDArray[np.uint64], outcome: Outcome
    ) -> tuple[Index, Inner, npt.NDArray[np.uint64]]:
        """R18: send all but the first pieces of what is too big; return what remains to be sent."""
        mtus = self._mtus.take(words.view(HOP)["port"])
        big = packets.total_len > mtus
        whole, big_rows = np.flatnonzero(~big), np.flatnonzero(big)
        if not len(big_rows):
            return rows, packets, words
        verdicts = outcome.verdicts[rows[big_rows]]
        cut = self._fragmenter.cut(packets.take(big_rows), mtus[big_rows], verdicts)
        outcome.verdicts[rows[big_rows]] = verdicts
        kept = big_rows[cut.kept]
        for port, _, at, length in self._written(cut.later, words[kept][cut.of]):
            sent = np.full(len(at), Verdict.SENT_PIECE, np.uint8)
            outcome.made.append(Made(port, sent, at, length))
        remain = np.concatenate((whole, kept))
        return rows[remain], joined(packets.take(whole), cut.first), words[remain]

    def _written(
        self, packets: Inner, words: npt.NDArray[np.uint64]
    ) -> Iterator[tuple[int, Index | slice, Index, npt.NDArray[np.int64]]]:
        """Write link headers; by port, which of the packets, where frames start, and octets."""
        if not len(words):
            return
        hops = words.view(HOP)
        for port, part in by_port(hops["port"]):
            writer, some, macs = self._writers[port], packets, hops["mac"]
            if not isinstance(part, slice):
                some, macs = packets.take(part), macs[part]
            writer.write_link(some.at, macs, some.header["octets"])
            before = writer.before_plain
            yield port, part, some.at - before, some.total_len + before
