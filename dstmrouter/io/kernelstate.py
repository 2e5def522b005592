"""The kernel's routing tables, kept up to date from its notices.

A notice says what happened to one object. That is enough for links, addresses and neighbours. It is
not always enough for routes: several can have one key (destination, table, metric), IPv6 paths join
and leave a multipath route one by one, and the IPv4 routes of a link that goes down are dropped
without a word. Where a notice leaves a doubt, the part in question is marked as
doubtful, and whoever talks to the kernel asks for all of it again and calls `replace`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, TypeAlias

from dstmrouter.io.kernelobjects import (
    Address,
    IpNetwork,
    Link,
    Neighbour,
    NeighbourKey,
    Notice,
    Part,
    Route,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstmrouter.io.kernelobjects import KernelObject

RouteKey: TypeAlias = tuple[IpNetwork, Table, int]
"""Destination, table and metric."""
RouteTable: TypeAlias = dict[RouteKey, tuple[Route, ...]]
"""Routes by key; where there are several, in the order of the kernel, which uses the first."""

ROUTES: Final = frozenset((Part.ROUTES4, Part.ROUTES6))


@dataclasses.dataclass(slots=True)
class Changes:
    """Which objects have changed; their present state is in `KernelState`."""

    links: set[int] = dataclasses.field(default_factory=set)  # interface indexes
    addresses: set[int] = dataclasses.field(default_factory=set)  # interface indexes
    neighbours: set[NeighbourKey] = dataclasses.field(default_factory=set)
    routes: set[Part] = dataclasses.field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.links or self.addresses or self.neighbours or self.routes)


class KernelState:
    """Links, addresses, routes and neighbours as far as the kernel has told."""

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.addresses: set[Address] = set()
        self.neighbours: dict[NeighbourKey, Neighbour] = {}
        self.routes: dict[Part, RouteTable] = {part: {} for part in ROUTES}
        self.doubtful: set[Part] = set(Part)

    def link_named(self, name: str) -> Link | None:
        """The link with this name, if there is one."""
        return next((link for link in self.links.values() if link.name == name), None)

    def apply(self, notice: Notice, changes: Changes) -> None:
        """Take over one notice; add what it changed to `changes`."""
        match notice.about:
            case Link() as link:
                self._put_link(link.ifindex, None if notice.gone else link, changes)
            case Address() as address:
                self._apply_address(address, notice.gone, changes)
            case Neighbour() as neighbour:
                new = None if notice.gone else neighbour
                self._put_neighbour(neighbour.key, new, changes)
            case Route() as route:
                self._apply_route(route, notice, changes)

    def replace(self, part: Part, objects: Iterable[KernelObject], changes: Changes) -> None:
        """Take over all objects of `part`; what is not among them is gone."""
        self.doubtful.discard(part)
        if part in ROUTES:
            self._replace_routes(part, [o for o in objects if isinstance(o, Route)], changes)
            return
        objects = list(objects)
        present = {_identity(o) for o in objects}
        gone = [o for o in self._all_of(part) if _identity(o) not in present]
        for notice in [Notice(o, gone=True) for o in gone] + [Notice(o) for o in objects]:
            self.apply(notice, changes)

    def _all_of(self, part: Part) -> Iterable[KernelObject]:
        if part is Part.LINKS:
            return self.links.values()
        return self.addresses if part is Part.ADDRESSES else self.neighbours.values()

    def _put_link(self, ifindex: int, new: Link | None, changes: Changes) -> None:
        old = self.links.get(ifindex)
        if old == new:
            return
        changes.links.add(ifindex)
        if new is None:
            del self.links[ifindex]
        else:
            self.links[ifindex] = new
        if old is not None and old.up and not (new is not None and new.up):
            self.doubtful |= ROUTES  # fib_sync_down_dev() tells nobody

    def _apply_address(self, address: Address, gone: bool, changes: Changes) -> None:
        if (address in self.addresses) is not gone:
            return
        changes.addresses.add(address.ifindex)
        if gone:
            self.addresses.remove(address)
            if address.ip.version == 4:
                self.doubtful.add(Part.ROUTES4)  # not every kernel tells of routes from it
        else:
            self.addresses.add(address)

    def _put_neighbour(self, key: NeighbourKey, new: Neighbour | None, changes: Changes) -> None:
        if self.neighbours.get(key) == new:
            return
        changes.neighbours.add(key)
        if new is None:
            del self.neighbours[key]
        else:
            self.neighbours[key] = new

    def _apply_route(self, route: Route, notice: Notice, changes: Changes) -> None:
        table = self.routes[route.part]
        key = _key(route)
        old = table.get(key, ())
        new = _routes_after(old, route, notice)
        if new is None:
            self.doubtful.add(route.part)
        elif new != old:
            changes.routes.add(route.part)
            if new:
                table[key] = new
            else:
                del table[key]

    def _replace_routes(self, part: Part, routes: list[Route], changes: Changes) -> None:
        table: RouteTable = {}
        for route in routes:
            key = _key(route)
            table[key] = (*table.get(key, ()), route)
        if table != self.routes[part]:
            changes.routes.add(part)
            self.routes[part] = table


def _routes_after(old: tuple[Route, ...], route: Route, notice: Notice) -> tuple[Route, ...] | None:
    """The routes with one key after a notice, or None when it does not tell."""
    if notice.gone:
        if not old:
            return old  # its removal was known before
        return tuple(r for r in old if r != route) if old.count(route) == 1 else None
    if not old or (notice.replaces and len(old) == 1):
        return (route,)
    return old if old == (route,) else None


def _key(route: Route) -> RouteKey:
    return route.dst, route.table, route.metric


def _identity(thing: KernelObject) -> object:
    """What stays the same while the object changes."""
    match thing:
        case Link():
            return thing.ifindex
        case Neighbour():
            return thing.key
        case _:
            return thing
