from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.binding import words6
from dstmrouter.daemon.fib import DISCARD, LOCAL, Action, Target, Ways, fib4, fib6, same
from dstmrouter.io.kernelobjects import NextHop, Route, RouteKind, Table
from dstmrouter.pipeline.prefixes import lookup4, lookup6

if TYPE_CHECKING:
    from dstmrouter.io.kernelstate import RouteTable

PORT, OTHER_PORT, ELSEWHERE = 3, 4, 9
WAYS = Ways(ports={PORT, OTHER_PORT}, up={PORT, OTHER_PORT})
GATEWAY = IPv4Address("192.0.2.2")
GATEWAY6 = IPv6Address("fe80::2")


def route(
    dst: str,
    *hops: NextHop,
    kind: RouteKind = RouteKind.UNICAST,
    table: Table = Table.MAIN,
    metric: int = 0,
) -> Route:
    return Route(ip_network(dst), kind, hops, table, metric)


def table(*routes: Route) -> RouteTable:
    return {(r.dst, r.table, r.metric): (r,) for r in routes}


def target(routes: RouteTable, address: str, ways: Ways = WAYS) -> Target:
    if ":" in address:
        table6 = fib6(routes, ways)
        return table6.targets[int(lookup6(table6.intervals, words6([IPv6Address(address)]))[0])]
    table4 = fib4(routes, ways)
    column = np.array([int(IPv4Address(address))], np.uint32)
    return table4.targets[int(lookup4(table4.intervals, column)[0])]


VIA = NextHop(PORT, GATEWAY)
ON_LINK = NextHop(PORT, None)


@pytest.mark.parametrize("address", ["198.51.100.1", "2001:db8::1"])
def test_without_a_route_packets_are_discarded(address: str) -> None:
    assert target({}, address) == DISCARD


def test_the_longest_prefix_wins() -> None:
    routes = table(
        route("0.0.0.0/0", VIA),
        route("198.51.100.0/24", NextHop(OTHER_PORT, GATEWAY)),
        route("198.51.100.7/32", kind=RouteKind.BLACKHOLE),
    )
    assert target(routes, "203.0.113.1") == Target(Action.VIA, PORT, GATEWAY)
    assert target(routes, "198.51.100.6") == Target(Action.VIA, OTHER_PORT, GATEWAY)
    assert target(routes, "198.51.100.7") == DISCARD
    assert target(routes, "198.51.100.8") == Target(Action.VIA, OTHER_PORT, GATEWAY)


def test_ipv6_goes_the_same_way() -> None:
    routes = table(
        route("::/0", NextHop(PORT, GATEWAY6)),
        route("2001:db8::/64", ON_LINK),
        route("2001:db8::1/128", kind=RouteKind.LOCAL, table=Table.LOCAL),
    )
    assert target(routes, "2001:db8:1::1") == Target(Action.VIA, PORT, GATEWAY6)
    assert target(routes, "2001:db8::2") == Target(Action.ON_LINK, PORT)
    assert target(routes, "2001:db8::1") == LOCAL


@pytest.mark.parametrize("metrics", [(1, 2), (2, 1)])
def test_the_lowest_metric_wins(metrics: tuple[int, int]) -> None:
    best = metrics.index(1)
    routes = table(
        *(
            route("198.51.100.0/24", NextHop(port, GATEWAY), metric=metric)
            for port, metric in zip((PORT, OTHER_PORT), metrics, strict=True)
        )
    )
    assert target(routes, "198.51.100.1").ifindex == (PORT, OTHER_PORT)[best]


def test_the_local_table_wins_even_with_a_shorter_prefix() -> None:
    routes = table(
        route("192.0.2.0/24", kind=RouteKind.LOCAL, table=Table.LOCAL),
        route("192.0.2.5/32", VIA),
        route("192.0.2.0/24", VIA),
        route("192.0.0.0/16", VIA),
    )
    assert target(routes, "192.0.2.5") == LOCAL
    assert target(routes, "192.0.3.5").action is Action.VIA


def test_the_default_table_comes_last() -> None:
    routes = table(
        route("0.0.0.0/0", NextHop(OTHER_PORT, GATEWAY), table=Table.DEFAULT),
        route("0.0.0.0/0", VIA, metric=100),
    )
    assert target(routes, "198.51.100.1").ifindex == PORT


@pytest.mark.parametrize(
    "kind",
    [k for k in RouteKind if k not in (RouteKind.UNICAST, RouteKind.LOCAL, RouteKind.ANYCAST)],
)
def test_other_kinds_lead_nowhere(kind: RouteKind) -> None:
    routes = table(route("0.0.0.0/0", VIA), route("192.0.2.255/32", ON_LINK, kind=kind))
    assert target(routes, "192.0.2.255") == DISCARD


def test_a_route_out_of_a_foreign_interface_leads_nowhere() -> None:
    routes = table(route("0.0.0.0/0", VIA), route("10.0.0.0/8", NextHop(ELSEWHERE, GATEWAY)))
    assert target(routes, "10.1.1.1") == DISCARD


def test_the_first_path_that_is_up_is_taken() -> None:
    routes = table(route("0.0.0.0/0", NextHop(ELSEWHERE, None), VIA, NextHop(OTHER_PORT, GATEWAY)))
    for up, taken in (({PORT, OTHER_PORT}, PORT), ({OTHER_PORT}, OTHER_PORT), (set(), PORT)):
        ways = Ways(WAYS.ports, up)
        assert target(routes, "198.51.100.1", ways) == Target(Action.VIA, taken, GATEWAY)


def test_same_tells_changes_from_repetitions() -> None:
    routes = table(route("0.0.0.0/0", VIA), route("198.51.100.0/24", VIA))
    assert same(fib4(routes, WAYS), fib4(dict(routes), WAYS))
    other = table(route("0.0.0.0/0", VIA), route("198.51.100.0/25", VIA))
    assert not same(fib4(routes, WAYS), fib4(other, WAYS))
    moved = table(route("0.0.0.0/0", VIA), route("198.51.100.0/24", ON_LINK))
    assert not same(fib4(routes, WAYS), fib4(moved, WAYS))
