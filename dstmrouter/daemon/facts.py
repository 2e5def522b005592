"""Why a packet went where it went: what each step of the pipeline had before it.

The verdict is the pipeline's own. What stands here are the facts that it follows from: the packet's
headers, and the rows, routes and next hops that the tables have for it. Facts are told up to the
step that decided; they are read when they are asked for, which is a moment after the packet.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import address6
from dstmrouter.daemon import packetfacts
from dstmrouter.pipeline import inner
from dstmrouter.pipeline.bindings import FOREVER, RowKind
from dstmrouter.pipeline.hops import HOP, HopState
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.portkeys import Side
from dstmrouter.pipeline.portsets import PortSets
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ipaddress import IPv4Address

    from dstmrouter.daemon.packetfacts import Link, Outer
    from dstmrouter.daemon.tapboard import Sample
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rules import TunnelRules

LINK, OUTER, PACKET, SOURCE, DESTINATION, NEXT_HOP = (
    "link",
    "outer",
    "packet",
    "source",
    "destination",
    "next hop",
)
STEPS: Final = (LINK, OUTER, PACKET, SOURCE, DESTINATION, NEXT_HOP)
_BEHIND: Final = 4096  # octets of nothing: what lies behind a packet is read before it is checked
DECIDED_AT: Final[dict[int, str]] = {
    Verdict.DROP_NOT_IP: LINK,
    Verdict.DROP_VLAN: LINK,
    Verdict.DROP_FILTER_IN: LINK,
    Verdict.DROP_V6_MALFORMED: OUTER,
    Verdict.DROP_NOT_TEP6: OUTER,
    Verdict.DROP_NOT_TUNNEL: OUTER,
    Verdict.DROP_OUTER_FRAGMENT: OUTER,
    Verdict.DROP_ICMPV6: OUTER,
    Verdict.DROP_ICMPV6_BAD: OUTER,
    Verdict.DROP_ICMPV6_NOTED: OUTER,
    Verdict.DROP_ICMPV6_FLOOD: OUTER,
    Verdict.DROP_V4_MALFORMED: PACKET,
    Verdict.DROP_V4_CHECKSUM: PACKET,
    Verdict.DROP_V4_MARTIAN: PACKET,
    Verdict.DROP_ECN_CE: PACKET,
    Verdict.DROP_SPOOF_ADDRESS: SOURCE,
    Verdict.DROP_SPOOF_CLIENT: SOURCE,
    Verdict.DROP_SPOOF_PORT: SOURCE,
    Verdict.DROP_NOT_POOL: DESTINATION,
    Verdict.DROP_NO_BINDING: DESTINATION,
    Verdict.DROP_HAIRPIN_OFF: DESTINATION,
    Verdict.DROP_LOCAL: DESTINATION,
}
"""The last step that matters, of verdicts that not all steps lead to."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """What a step had before it."""

    step: str
    text: str


class FactReader:
    """Reads packets and the router's tables.

    `names` are those of the ports; `source_of` says who bound the address in a slot.
    """

    def __init__(
        self,
        tables: Tables,
        rules: TunnelRules,
        names: Sequence[str],
        source_of: Callable[[int], str],
    ) -> None:
        self._tables = tables
        self._rules = rules
        self._names = names
        self._source_of = source_of

    def about(self, sample: Sample, now_s: int) -> list[Fact]:
        """The facts of a sample, in the order of the steps, up to the one that decided."""
        link = packetfacts.read_link(sample.frame)
        name = self._names[sample.port]
        if sample.made:
            return [Fact(LINK, f"our own, out by {name}, {link.text}")]
        last = STEPS.index(DECIDED_AT.get(sample.verdict, NEXT_HOP))
        facts = [Fact(LINK, f"in by {name}{self._port_tag(sample.port)}, {link.text}")]
        facts += self._packet(sample.frame[link.ip_at :], link, now_s)
        return [fact for fact in facts if STEPS.index(fact.step) <= last]

    def _port_tag(self, port: int) -> str:
        seen = self._tables.ports.read()
        vlan = 0 if seen is None else int(seen[1][port]["vlan"])
        return f" (VLAN {vlan})" if vlan else ""

    def _packet(self, packet: bytes, link: Link, now_s: int) -> Iterator[Fact]:
        if link.ethertype == ether.ETHERTYPE_IPV4:
            yield from self._inner(packet, None, now_s)
        elif link.ethertype == ether.ETHERTYPE_IPV6:
            outer = packetfacts.read_outer(packet)
            if outer is None:
                yield Fact(OUTER, f"{len(packet)} octets, less than an IPv6 header")
                return
            yield Fact(OUTER, f"{outer.text}; {self._end_point(outer)}")
            if outer.inner is not None:
                yield from self._inner(outer.inner, outer, now_s)

    def _end_point(self, outer: Outer) -> str:
        teps = self._rules.tep6
        return "to our tep6" if outer.dst in teps else "to none of our tep6"

    def _inner(self, packet: bytes, outer: Outer | None, now_s: int) -> Iterator[Fact]:
        told = packetfacts.read_inner(packet)
        if told is None:
            yield Fact(PACKET, f"{len(packet)} octets, less than an IPv4 header")
            return
        yield Fact(PACKET, told.text)
        rows = self._rows(packet)
        if rows is None:
            return
        if outer is not None:
            row = rows(Side.SRC)
            same = str(address6(row["client6"])) == str(outer.src)
            bound = row["kind"] == RowKind.BOUND
            whose = f"; the packet comes from {'it' if same else outer.src}" if bound else ""
            yield Fact(SOURCE, self._row_text(told.src, row, now_s) + whose)
        row = rows(Side.DST)
        yield Fact(DESTINATION, self._row_text(told.dst, row, now_s))
        if row["kind"] == RowKind.BOUND:
            mtu = (
                f"; packets to it have at most {self._rules.path_mtu} octets, outer header included"
            )
            yield Fact(NEXT_HOP, self._hop_text(int(row["hop"])) + mtu)
        elif outer is not None and row["kind"] == RowKind.NOT_POOL:
            [hop] = self._tables.routes4.lookup(np.array([int(told.dst)], np.uint32))
            yield Fact(NEXT_HOP, self._hop_text(int(hop)))

    def _rows(self, packet: bytes) -> Callable[[Side], np.void] | None:
        """What finds the rows of a packet's addresses; None for one that is not all there."""
        memory = FrameMemory(bytearray(packet) + bytes(_BEHIND))
        room = np.array([len(packet)], np.int64)
        packets, checks = inner.read(memory, np.zeros(1, np.intp), room, None, "dst_upper")
        malformed = checks[0][0]
        if callable(malformed) or malformed[0]:
            return None
        port_sets = PortSets(memory, self._tables.bindings)

        def row(side: Side) -> np.void:
            found: np.void = port_sets.look_up(packets, side)[0]
            return found

        return row

    def _row_text(self, address: IPv4Address, row: np.void, now_s: int) -> str:
        kind = RowKind(int(row["kind"]))
        if kind is not RowKind.BOUND:
            return f"{address} {_KINDS[kind]}"
        [slot] = self._tables.bindings.slot_of(np.array([int(address)], np.uint32))
        expires = int(row["expires"])
        left = "for ever" if expires == FOREVER else f"for {expires - now_s} s"
        tep = self._rules.tep6[int(row["tep"])]
        bound = f"bound to {address6(row['client6'])} by {tep}, {left}"
        if row["psid_len"]:
            offset, length = row["psid_offset"], row["psid_len"]
            return (
                f"{address} has port sets (offset {offset}, length {length}); this one is {bound}"
            )
        return f"{address} is {bound}, says {self._source_of(int(slot))}"

    def _hop_text(self, number: int) -> str:
        hop = self._tables.hops.words[[number]].view(HOP)[0]
        state = HopState(int(hop["state"]))
        if state is not HopState.RESOLVED:
            return _STATES[state]
        seen = self._tables.ports.read()
        mtu = "" if seen is None else f", MTU {seen[1][int(hop['port'])]['mtu']}"
        return f"{bytes(hop['mac']).hex(':')} by {self._names[int(hop['port'])]}{mtu}"


_KINDS: Final = {
    RowKind.NOT_POOL: "is in no pool",
    RowKind.UNBOUND: "is in a pool, and nobody's",
    RowKind.LOCAL: "is our tep4",
    RowKind.SHARED: "has port sets",
    RowKind.NO_SET: "has port sets, and the packet's port is in none that is somebody's",
    RowKind.NO_PORT: "has port sets, and nothing in the packet says whose it is",
    RowKind.DAMAGED: "has port sets, and checksums of the ICMP message are wrong",
    RowKind.PIECE: "has port sets, and a fragment goes where its first piece went",
}
_STATES: Final = {
    HopState.UNRESOLVED: "a neighbour whose MAC address is not known yet",
    HopState.UNREACHABLE: "no route, a discard route, or a link that is down",
    HopState.GLEAN: "on a link of ours, the kernel is asked for its MAC address",
    HopState.LOCAL: "one of our own addresses",
}
