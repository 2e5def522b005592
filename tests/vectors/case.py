"""Neutral packet cases: what arrives on both sides of a gateway, and what must leave.

One directory a case, with `case.json` and four captures. They are looked for where DSTM_VECTORS
says, else in `cases` beside this file.
"""

from __future__ import annotations

import dataclasses
import json
import os
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

from dstmrouter.io.capturefile import read_packets

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
VARIABLE: Final = "DSTM_VECTORS"


@dataclasses.dataclass(frozen=True, slots=True)
class Softwire:
    """A binding: client6 holds ports of ipv4, through tep6."""

    ipv4: IPv4Address
    client6: IPv6Address
    tep6: IPv6Address
    psid_offset: int
    psid_len: int
    psid: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the gateway's links; `address` is tep4 or the first tep6."""

    address: str
    mac: bytes
    next_mac: bytes
    vlan: int | None
    mtu: int
    takes_icmp: bool  # ICMP from outside is forwarded
    makes_icmp: bool
    filter_in: str | None  # pcap expressions of the packets that may pass
    filter_out: str | None
    max_fragments: int  # of a datagram that is reassembled


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Frames are whole, Ethernet header included, in the order of their captures."""

    name: str
    softwires: tuple[Softwire, ...]
    v4: Side
    v6: Side
    hairpin: bool
    flow_label: int
    in4: tuple[bytes, ...]
    in6: tuple[bytes, ...]
    expect4: tuple[bytes, ...]
    expect6: tuple[bytes, ...]
    counters: tuple[tuple[str, int], ...]  # those of the original

    @property
    def number(self) -> str:
        """The first part of the directory's name."""
        return self.name.partition("-")[0]


def directory() -> Path | None:
    """Where the cases are; None if there are none."""
    named = os.environ.get(VARIABLE)
    places = [Path(named)] if named else [HERE / "cases", ROOT.parent / "vectors"]
    return next((place for place in places if any(place.glob("*/case.json"))), None)


@cache
def all_cases() -> tuple[Case, ...]:
    """All cases, by name."""
    place = directory()
    return () if place is None else tuple(map(load, sorted(place.glob("*/case.json"))))


def load(path: Path) -> Case:
    """The case of a `case.json` and the captures beside it."""
    described = json.loads(path.read_text(encoding="utf-8"))
    v4, v6, files = (described[key] for key in ("v4_interface", "v6_interface", "files"))

    def frames(key: str) -> tuple[bytes, ...]:
        capture = path.with_name(files[key])
        return tuple(read_packets(capture)) if capture.stat().st_size else ()

    def arriving(key: str, described: dict[str, Any]) -> tuple[bytes, ...]:
        """Captures are of other wires: on ours, frames come from the next hop and go to us."""
        side = _side(described)
        return tuple(side.mac + side.next_mac + frame[12:] for frame in frames(key))

    return Case(
        name=path.parent.name,
        softwires=tuple(map(_softwire, described["softwires"])),
        v4=_side(v4),
        v6=_side(v6),
        hairpin=v6["hairpinning"],
        flow_label=v6["flow_label"],
        in4=arriving("in_v4", v4),
        in6=arriving("in_v6", v6),
        expect4=frames("expect_v4"),
        expect6=frames("expect_v6"),
        counters=tuple(sorted(described["expected_counters"].items())),
    )


def _softwire(described: dict[str, Any]) -> Softwire:
    return Softwire(
        IPv4Address(described["ipv4"]),
        IPv6Address(described["b4_ipv6"]),
        IPv6Address(described["br_address"]),
        described["psid_offset_bits"],
        described["psid_length"],
        described["psid"],
    )


def _side(described: dict[str, Any]) -> Side:
    return Side(
        address=described["ip"],
        mac=bytes.fromhex(described["mac"].replace(":", "")),
        next_mac=bytes.fromhex(described["next_hop"]["mac"].replace(":", "")),
        vlan=described["vlan"],
        mtu=described["mtu"],
        takes_icmp=described["accept_incoming_icmp"],
        makes_icmp=described["generate_icmp_errors"],
        filter_in=described["ingress_filter"],
        filter_out=described["egress_filter"],
        max_fragments=described["reassembly"]["max_fragments_per_packet"],
    )
