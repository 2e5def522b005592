"""What a router may know: plain values that both the oracle and the real tables are made from."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

from dstmrouter.pipeline.rules import IcmpRules


@dataclasses.dataclass(frozen=True)
class PortSpec:
    mac: bytes
    mtu: int = 1500
    vlan: int | None = None


@dataclasses.dataclass(frozen=True)
class HopSpec:
    """`state` is "resolved" or a key of STATE_VERDICTS."""

    state: str
    port: int = 0
    mac: bytes = bytes(6)


@dataclasses.dataclass(frozen=True)
class BindingSpec:
    client6: IPv6Address
    hop: int
    tep: int = 0
    expires: float = float("inf")  # seconds on the router's clock


@dataclasses.dataclass(frozen=True)
class SharedSpec:
    """An address whose ports are divided: `offset` and `length` in bits, holders by PSID."""

    offset: int
    length: int
    holders: dict[int, BindingSpec]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReassemblySpec:
    """The fields of ReassemblyRules."""

    timeout_s: int = 60
    frames: int = 1024
    per_client: int = 16
    per_datagram: int = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleSpec:
    """The fields of TunnelRules."""

    tep6: tuple[IPv6Address, ...]
    tep4: IPv4Address | None = None
    hop_limit: int = 64
    dscp_uniform: bool = True
    flow_label: int | None = None
    flow_key: tuple[int, int] = (0x123456789ABCDEF1, 0xFEDCBA9876543210)
    hairpin: bool = True
    path_mtu: int = 1500
    ecn_copied: bool = True
    encapsulation_limit: int | None = None
    df_strict: bool = True
    fragment_inner: bool = False
    mss: int | None = None
    reassembly: ReassemblySpec = ReassemblySpec()


@dataclasses.dataclass(frozen=True)
class World:
    """All that the router knows; hops are named by their numbers."""

    rules: RuleSpec
    ports: tuple[PortSpec, ...]
    hops: dict[int, HopSpec]
    pools: tuple[IPv4Network, ...]
    bindings: dict[IPv4Address, BindingSpec]
    shared: dict[IPv4Address, SharedSpec]
    routes: dict[IPv4Network, int]
    icmp: IcmpRules


# No limit is met here: what a packet brings about must not depend on those before it.
ICMP: Final = IcmpRules(
    access_prefixes=(IPv6Network("2001:db8:1::/62"), IPv6Network("2001:db8:1:8::/64")),
    icmpv4_rate=1 << 20,
    icmpv6_rate=1 << 20,
    prefix_rate=1 << 20,
    prefix_burst=1 << 20,
    burst_limit=1024,
)

ACCESS, INTERNET, SMALL, TAGGED = range(4)  # ports
UNREACHABLE, LOCAL, GLEAN, CLIENTS, UPSTREAM, SMALL_UPSTREAM, TAGGED_CLIENTS, SILENT = range(8)

TEP6: Final = IPv6Address("2001:db8:402:2::1")
TEP6_B: Final = IPv6Address("2001:db8:402:2::2")
TEP6_C: Final = IPv6Address("2001:db8:402:3::1")
TEP4: Final = IPv4Address("192.0.2.1")
CLIENTS6: Final = [IPv6Address(f"2001:db8:1:{n}::{n}") for n in range(10)]
POOLS: Final = (IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.64/26"))
NOW_S: Final = 1000


def leased(number: int) -> IPv4Address:
    """Addresses of the first pool; who holds them: see `world`."""
    return POOLS[0][number]


HELD: Final = {
    leased(1): BindingSpec(CLIENTS6[1], CLIENTS),
    leased(2): BindingSpec(CLIENTS6[2], TAGGED_CLIENTS, tep=1, expires=NOW_S + 1),
    leased(3): BindingSpec(CLIENTS6[3], CLIENTS, tep=2),
    leased(4): BindingSpec(CLIENTS6[4], CLIENTS, expires=NOW_S),
    leased(6): BindingSpec(CLIENTS6[6], SILENT),
    leased(7): BindingSpec(CLIENTS6[7], UNREACHABLE),
    POOLS[1][9]: BindingSpec(CLIENTS6[1], CLIENTS),
}
SHARED: Final = {
    leased(5): SharedSpec(
        6,
        8,
        {
            0x34: BindingSpec(CLIENTS6[5], CLIENTS),
            0x35: BindingSpec(CLIENTS6[2], TAGGED_CLIENTS, tep=1),
            0x36: BindingSpec(CLIENTS6[6], SILENT),
            0x37: BindingSpec(CLIENTS6[5], CLIENTS, expires=NOW_S),
            0xFF: BindingSpec(CLIENTS6[9], CLIENTS, tep=2),
        },
    ),
    leased(18): SharedSpec(
        0, 4, {n: BindingSpec(CLIENTS6[5 if n else 1], CLIENTS, tep=n) for n in (0, 1)}
    ),
    leased(19): SharedSpec(0, 16, {53: BindingSpec(CLIENTS6[5], CLIENTS)}),
    leased(20): SharedSpec(1, 15, {53: BindingSpec(CLIENTS6[5], CLIENTS)}),
}
PORTS: Final = (
    *(1232, 1235, 2256, 64720, 1236, 1240, 1244, 2044, 208, 1231),  # of leased(5)
    *(4711, 53, 4095, 4096, 8191, 8192, 65535, 0),  # of leased(18)
    *(54, 53 | 1 << 15),  # of leased(19) and leased(20)
)
"""Some inside the port sets, some outside."""
ROUTES: Final = {
    IPv4Network("0.0.0.0/0"): UPSTREAM,
    IPv4Network("10.1.0.0/16"): SMALL_UPSTREAM,
    IPv4Network("10.2.0.0/16"): SILENT,
    IPv4Network("10.3.0.0/16"): GLEAN,
    IPv4Network("10.4.0.0/16"): UNREACHABLE,
    IPv4Network("10.5.0.0/16"): LOCAL,
    IPv4Network("10.1.2.3/32"): UPSTREAM,
}


def world(access_vlan: int | None = None, icmp: IcmpRules = ICMP, **rules: Any) -> World:
    """A router with four ports and bindings of all sorts; `rules` are fields of RuleSpec."""
    spec = dataclasses.replace(RuleSpec(tep6=(TEP6, TEP6_B, TEP6_C), tep4=TEP4), **rules)
    bindings = {
        client4: dataclasses.replace(held, tep=held.tep % len(spec.tep6))
        for client4, held in HELD.items()
    }
    return World(
        rules=spec,
        ports=(
            PortSpec(bytes.fromhex("020000000001"), vlan=access_vlan),
            PortSpec(bytes.fromhex("020000000002")),
            PortSpec(bytes.fromhex("020000000003"), mtu=600),
            PortSpec(bytes.fromhex("020000000004"), vlan=77),
        ),
        hops={
            UNREACHABLE: HopSpec("unreachable"),
            LOCAL: HopSpec("local"),
            GLEAN: HopSpec("glean"),
            CLIENTS: HopSpec("resolved", ACCESS, bytes.fromhex("0200000000a1")),
            UPSTREAM: HopSpec("resolved", INTERNET, bytes.fromhex("0200000000b1")),
            SMALL_UPSTREAM: HopSpec("resolved", SMALL, bytes.fromhex("0200000000c1")),
            TAGGED_CLIENTS: HopSpec("resolved", TAGGED, bytes.fromhex("0200000000d1")),
            SILENT: HopSpec("unresolved", ACCESS),
        },
        pools=POOLS,
        bindings=bindings,
        shared={
            client4: dataclasses.replace(
                divided,
                holders={
                    psid: dataclasses.replace(held, tep=held.tep % len(spec.tep6))
                    for psid, held in divided.holders.items()
                },
            )
            for client4, divided in SHARED.items()
        },
        routes=ROUTES,
        icmp=icmp,
    )
