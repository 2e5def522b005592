"""A routing planner under made-up kernel states, as tests see it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import numpy as np

from dstmrouter.binding import words6
from dstmrouter.daemon.routing import Routing
from dstmrouter.io.kernelobjects import (
    NUD_STALE,
    Link,
    Neighbour,
    NextHop,
    Notice,
    Route,
    RouteKind,
    Table,
)
from dstmrouter.io.kernelstate import Changes, KernelState
from dstmrouter.pipeline.hops import (
    HopIds,
    HopState,
    HopTable,
)
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.routes4 import Routes4

INSIDE, OUTSIDE = 3, 4  # interface indexes
PORTS = {"in0": 0, "out0": 1}
CLIENT = "2001:db8:1::7"


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


class Plan:
    """A planner, what it writes, and a clock."""

    def __init__(self, hops: int = 32, intervals: int = 64) -> None:
        self.state = KernelState()
        self.hops = HopTable(np.zeros(hops, np.uint64))
        self.hops.lay_out()
        self.routes4 = Routes4(bytearray(Routes4.size(intervals)), intervals)
        self.turns = Turns(bytearray(Turns.size(1)), 1)
        self.routing = Routing(self.state, PORTS, self.hops, self.routes4, self.turns)
        self.now = 0.0

    def tell(self, *notices: Notice) -> None:
        """The kernel says something, and time goes by until it is published."""
        changes = Changes()
        for notice in notices:
            self.state.apply(notice, changes)
        self.routing.apply(changes, self.now)
        self.now += 1.0
        assert self.routing.refresh(self.now) is None

    def link(self, ifindex: int, *, up: bool = True, name: str = "") -> Notice:
        name = name or {INSIDE: "in0", OUTSIDE: "out0"}[ifindex]
        return Notice(Link(ifindex, name, mac(ifindex), 1500, up))

    def words(self, hops: HopIds) -> list[tuple[HopState, int, bytes]]:
        return [
            (HopState(int(h["state"])), int(h["port"]), h["mac"].tobytes())
            for h in self.hops.take(hops)
        ]

    def to(self, dst: str) -> tuple[HopState, int, bytes]:
        """State, port and MAC address for an IPv4 destination, as a worker finds them."""
        column = np.array([int(IPv4Address(dst))], np.uint32)
        return self.words(self.routes4.lookup(column))[0]

    def client(self, *clients: str) -> HopIds:
        return self.routing.resolve6(words6([IPv6Address(c) for c in clients]), self.now)

    def glean(self, *dst: str) -> None:
        self.routing.glean(np.array([int(IPv4Address(d)) for d in dst], np.uint32))


def route(dst: str, ifindex: int, gateway: str | None = None) -> Route:
    hop = NextHop(ifindex, None if gateway is None else ip_address(gateway))
    return Route(ip_network(dst), RouteKind.UNICAST, (hop,))


def neighbour(ifindex: int, ip: str, number: int) -> Notice:
    return Notice(Neighbour(ifindex, ip_address(ip), mac(number), NUD_STALE))


def lost(ifindex: int, ip: str) -> Notice:
    return Notice(Neighbour(ifindex, ip_address(ip), b"", 0x20))  # NUD_FAILED


LOCAL_OUT = Route(ip_network("192.0.2.1/32"), RouteKind.LOCAL, (), Table.LOCAL)


def connected_plan() -> Plan:
    """Two ports: IPv4 outside, IPv6 inside, both with a gateway and an on-link prefix."""
    plan = Plan()
    plan.tell(
        plan.link(INSIDE),
        plan.link(OUTSIDE),
        Notice(LOCAL_OUT),
        Notice(route("192.0.2.0/24", OUTSIDE)),
        Notice(route("0.0.0.0/0", OUTSIDE, "192.0.2.254")),
        Notice(route("2001:db8::/64", INSIDE)),
        Notice(route("2001:db8:1::/48", INSIDE, "fe80::1")),
    )
    return plan
