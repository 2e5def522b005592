"""Kernel routes to a forwarding table of our own: one target for every address.

The choice is the kernel's: the local table before the main table, the longest prefix, the lowest
metric, the first route of those with one metric. Policy rules and other tables are not followed.
The kernel does not forward for us, so a route that leaves by an interface which is none of our
ports is a discard route.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from dstmrouter.io.kernelobjects import RouteKind, Table
from dstmrouter.pipeline.prefixes import Intervals, Span, intervals4, intervals6

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstmrouter.io.kernelobjects import IpAddress, IpNetwork, Route
    from dstmrouter.io.kernelstate import RouteTable


class Action(Enum):
    """What becomes of a packet."""

    DISCARD = "discard"
    LOCAL = "local"  # for one of our own addresses
    ON_LINK = "on link"  # to the destination itself
    VIA = "via a gateway"


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """An action, and the link and gateway that belong to it."""

    action: Action
    ifindex: int = 0
    gateway: IpAddress | None = None


DISCARD: Final = Target(Action.DISCARD)
LOCAL: Final = Target(Action.LOCAL)


@dataclasses.dataclass(frozen=True, slots=True)
class Ways:
    """Interfaces that are our ports, and those of them that are up."""

    ports: Collection[int] = ()
    up: Collection[int] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Fib4:
    """Values of the intervals are positions in `targets`; the first target is DISCARD."""

    intervals: Intervals[np.uint32]
    targets: tuple[Target, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Fib6:
    """Like `Fib4`."""

    intervals: Intervals[np.bytes_]
    targets: tuple[Target, ...]


Fib: TypeAlias = Fib4 | Fib6


def fib4(routes: RouteTable, ways: Ways) -> Fib4:
    """Compile IPv4 routes."""
    spans, targets = _spans(routes, ways)
    return Fib4(intervals4(spans), targets)


def fib6(routes: RouteTable, ways: Ways) -> Fib6:
    """Compile IPv6 routes."""
    spans, targets = _spans(routes, ways)
    return Fib6(intervals6(spans), targets)


def same(one: Fib, other: Fib) -> bool:
    """Whether two tables say the same in the same way."""
    return (
        one.targets == other.targets
        and np.array_equal(one.intervals.starts, other.intervals.starts)
        and np.array_equal(one.intervals.values, other.intervals.values)
    )


def _spans(routes: RouteTable, ways: Ways) -> tuple[list[Span], tuple[Target, ...]]:
    numbers = {DISCARD: 0}
    spans = []
    for dst, route in _best(routes).items():
        number = numbers.setdefault(_target(route, ways), len(numbers))
        spans.append(Span(int(dst.network_address), int(dst.broadcast_address), number))
    return spans, tuple(numbers)


def _best(routes: RouteTable) -> dict[IpNetwork, Route]:
    """The route for each destination; none for what a route of the local table covers."""
    first = sorted(((r[0] for r in routes.values())), key=_preference)
    best: dict[IpNetwork, Route] = {}
    for route in first:
        best.setdefault(route.dst, route)
    local = {_upper_bits(d, d.prefixlen) for d, r in best.items() if r.table is Table.LOCAL}
    lengths = sorted({length for length, _ in local})
    return {
        dst: route
        for dst, route in best.items()
        if route.table is Table.LOCAL or not _is_within(dst, local, lengths)
    }


def _preference(route: Route) -> tuple[int, int]:
    return -route.table, route.metric  # local 255, main 254, default 253


def _is_within(dst: IpNetwork, prefixes: set[tuple[int, int]], lengths: list[int]) -> bool:
    """Whether one of `prefixes`, whose lengths are `lengths`, covers all of `dst`."""
    return any(_upper_bits(dst, n) in prefixes for n in lengths if n <= dst.prefixlen)


def _upper_bits(dst: IpNetwork, length: int) -> tuple[int, int]:
    """The prefix of `length` around `dst`; as numbers, 60,000 routes take 0.3 s less."""
    return length, int(dst.network_address) >> (dst.max_prefixlen - length)


def _target(route: Route, ways: Ways) -> Target:
    if route.kind in (RouteKind.LOCAL, RouteKind.ANYCAST):
        return LOCAL
    if route.kind is not RouteKind.UNICAST:
        return DISCARD
    ours = [hop for hop in route.nexthops if hop.ifindex in ways.ports]
    if not ours:
        return DISCARD
    # All down: the first keeps its place, so that its link coming up changes no table.
    chosen = next((hop for hop in ours if hop.ifindex in ways.up), ours[0])
    action = Action.ON_LINK if chosen.gateway is None else Action.VIA
    return Target(action, chosen.ifindex, chosen.gateway)
