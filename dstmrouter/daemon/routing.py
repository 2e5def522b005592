"""Next hops and routes for workers, planned from the kernel's tables.

Nothing here talks to the kernel: `apply` is told what changed in the mirrored `KernelState`, and
`to_solicit` says whom the kernel is to be asked about. A neighbour or link that changes is
published at once, in its hop. Routes are compiled again by `refresh`, not more often than their
number allows.

IPv6 next hops are named by bindings. When the IPv6 routes have changed, so has `generation6`, and
all bindings have to be resolved again (`resolve6`). Afterwards `retain6` says which hops bindings
still name, so that the others can be given to new neighbours.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.daemon.fib import Action, Target, Ways, fib4, fib6, same
from dstmrouter.daemon.gleaning import Gleaning
from dstmrouter.daemon.hopbook import HopBook
from dstmrouter.io.kernelobjects import Part
from dstmrouter.pipeline.hops import GLEAN_HOP, LOCAL_HOP, NO_MAC, UNREACHABLE_HOP, HopState
from dstmrouter.pipeline.prefixes import WIRE6, lookup4, lookup6, with_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from dstmrouter.binding import Words6
    from dstmrouter.io.kernelobjects import Link, NeighbourKey
    from dstmrouter.io.kernelstate import Changes, KernelState
    from dstmrouter.pipeline.hops import HopIds, HopTable
    from dstmrouter.pipeline.prefixes import Values
    from dstmrouter.pipeline.quiescence import Snapshot, Turns
    from dstmrouter.pipeline.routes4 import Routes4

REBUILD_S: Final = 0.05  # at least, between two compilations, plus
REBUILD_PER_ROUTE_S: Final = 1e-5  # a little more than compiling takes: at most half a core
SOLICIT_LIMIT: Final = 100  # neighbours in one answer of `to_solicit`
GLEAN_LIMIT: Final = 256  # addresses looked at in one call of `glean`

FIXED: Final = {
    Action.DISCARD: UNREACHABLE_HOP,
    Action.LOCAL: LOCAL_HOP,
    Action.ON_LINK: GLEAN_HOP,
}


class Routing:
    """Plans the contents of `hops` and `routes4`; the one writer of both.

    `ports` maps the name of the interface where the kernel has a port's addresses and routes to the
    index of the port. Times are seconds of one monotonic clock.
    """

    def __init__(
        self,
        state: KernelState,
        ports: Mapping[str, int],
        hops: HopTable,
        routes4: Routes4,
        turns: Turns,
    ) -> None:
        self._state = state
        self._ports = ports
        self._links: dict[int, Link] = {}  # of our ports, by interface index
        self._routes4 = routes4
        self._turns = turns
        self._book = HopBook(hops, turns, self._describe)
        self._gleaning = Gleaning()
        self._used4 = np.zeros(len(hops), np.bool_)  # by hop: routes name it
        self._used6 = np.zeros(len(hops), np.bool_)  # by hop: bindings may name it
        self._fib4 = fib4({}, Ways())
        self._fib6 = fib6({}, Ways())
        self._known4: set[NeighbourKey] = set()  # neighbours with an interval of their own
        self._stale: set[Part] = set()  # what has changed since it was compiled
        self._rebuild_at = 0.0
        self._published: Snapshot | None = None  # turns at the last publication of routes4
        self._starved = False  # a binding was refused a hop
        self._routes4_refused = 0
        self.generation6 = 0

    def counters(self) -> dict[str, int]:
        """Hops in use, and what found no room: hops, route intervals, unknown destinations."""
        return {
            "hops": len(self._book),
            "hops_refused": self._book.refused,
            "routes4": len(self._routes4),
            "routes4_refused": self._routes4_refused,
            "glean_refused": self._gleaning.refused,
        }

    def port_links(self) -> dict[int, Link]:
        """The present link of every port that has one, by port index."""
        return {self._ports[link.name]: link for link in self._links.values()}

    # What the kernel says ---------------------------------------------------------------------

    def apply(self, changes: Changes, now: float) -> None:
        """Publish changed neighbours and links; note which routes are to be compiled again."""
        moved = {ifindex for ifindex in changes.links if self._take_link(ifindex)}
        if moved:
            self._stale |= {Part.ROUTES4, Part.ROUTES6}
            self._book.refresh_links(moved, now)
            self._gleaning.forget(moved)
        self._book.refresh(changes.neighbours, now)
        if any(self._is_news(key) for key in changes.neighbours):
            self._stale.add(Part.NEIGHBOURS)
        self._stale |= changes.routes

    def refresh(self, now: float) -> float | None:
        """Compile and publish what has changed, if it is time.

        Return when to call again, or None if that is not before the next change.
        """
        if self._starved and self._book.has_room():
            self._starved = False
            self.generation6 += 1
        if not self._stale:
            return None
        if now < self._rebuild_at:
            return self._rebuild_at
        if self._published is not None and not self._turns.passed(self._published):
            return now + REBUILD_S  # a worker may still read the buffer that would be filled
        stale, self._stale = self._stale, set()
        if Part.ROUTES6 in stale:
            self._compile6()
        if Part.ROUTES4 in stale:
            self._fib4 = fib4(self._state.routes[Part.ROUTES4], self._ways())
        if stale - {Part.ROUTES6}:
            self._publish4(now)
        routes = sum(len(table) for table in self._state.routes.values())
        self._rebuild_at = now + REBUILD_S + REBUILD_PER_ROUTE_S * routes
        return None

    # What workers and bindings need -----------------------------------------------------------

    def resolve6(self, client6: Words6, now: float) -> HopIds:
        """Next hops of clients, shape (n,); UNREACHABLE_HOP without a route or a free hop."""
        values = lookup6(self._fib6.intervals, client6)
        refused = self._book.refused
        hops = self._hops_by_target(self._fib6.targets, np.unique(values), now)[values]
        on_link = np.array([t.action is Action.ON_LINK for t in self._fib6.targets])
        rows = np.flatnonzero(on_link[values])
        if len(rows):
            hops[rows] = self._on_link6(client6[rows], values[rows], now)
        self._used6[hops] = True
        self._starved |= self._book.refused > refused
        return hops

    def retain6(self, in_use: HopIds) -> int:
        """Release the hops of clients that no binding names; `in_use` are those still named.

        Return how many were released.
        """
        self._used6[:] = False
        self._used6[in_use] = True
        return self._book.release_all_but(self._used4 | self._used6)

    def glean(self, destinations: npt.NDArray[np.uint32]) -> None:
        """Note native IPv4 addresses that had the GLEAN hop, for `to_solicit`."""
        destinations = destinations[:GLEAN_LIMIT]
        values: list[int] = lookup4(self._fib4.intervals, destinations).tolist()
        for address, value in zip(destinations.tolist(), values, strict=True):
            target = self._fib4.targets[value]
            key = (target.ifindex, IPv4Address(address))
            if target.action is Action.ON_LINK and key not in self._known4:
                self._gleaning.want(key)

    def to_solicit(self, now: float) -> list[NeighbourKey]:
        """Neighbours the kernel is to be asked about now, at most SOLICIT_LIMIT.

        Those without a MAC address every second; those in use now and then, so that the kernel
        notices when one has moved or gone, as it would if it sent the packets itself. Never
        permanent ones: to be asked about would make them ordinary (NTF_USE, since Linux 5.16).
        """
        keys = self._gleaning.to_ask(now, SOLICIT_LIMIT // 2)
        keys += self._book.to_ask(now, SOLICIT_LIMIT - len(keys))
        return [key for key in keys if not self._is_permanent(key)]

    # Inside -----------------------------------------------------------------------------------

    def _take_link(self, ifindex: int) -> bool:
        """Take over the state of a link; whether that matters to a port."""
        old = self._links.pop(ifindex, None)
        new = self._state.links.get(ifindex)
        if new is not None and new.name in self._ports:
            self._links[ifindex] = new
        else:
            new = None
        return (old and (old.name, old.up)) != (new and (new.name, new.up))

    def _is_news(self, key: NeighbourKey) -> bool:
        """Whether an IPv4 neighbour of a port has come or gone (not: only moved)."""
        if key[1].version != 4 or key[0] not in self._links:
            return False
        neighbour = self._state.neighbours.get(key)
        return (neighbour is not None and neighbour.usable) is not (key in self._known4)

    def _is_permanent(self, key: NeighbourKey) -> bool:
        neighbour = self._state.neighbours.get(key)
        return neighbour is not None and neighbour.permanent

    def _ways(self) -> Ways:
        up = {ifindex for ifindex, link in self._links.items() if link.up}
        return Ways(set(self._links), up)

    def _describe(self, key: NeighbourKey) -> tuple[bytes, int, HopState]:
        """MAC address, port and state of a neighbour, from the kernel's tables."""
        link = self._links.get(key[0])
        if link is None:
            return NO_MAC, 0, HopState.UNREACHABLE
        port = self._ports[link.name]
        if not link.up:
            return NO_MAC, port, HopState.UNREACHABLE
        neighbour = self._state.neighbours.get(key)
        if neighbour is None or not neighbour.usable:
            return NO_MAC, port, HopState.UNRESOLVED
        return neighbour.mac, port, HopState.RESOLVED

    def _compile6(self) -> None:
        compiled = fib6(self._state.routes[Part.ROUTES6], self._ways())
        if not same(compiled, self._fib6):
            self._fib6 = compiled
            self.generation6 += 1

    def _publish4(self, now: float) -> None:
        """Routes by interval, and each known on-link neighbour as an interval of its own."""
        targets = self._fib4.targets
        by_target = self._hops_by_target(targets, range(len(targets)), now)
        addresses, hops = self._neighbours4(now)
        table = self._fib4.intervals
        table = with_addresses(type(table)(table.starts, by_target[table.values]), addresses, hops)
        if len(table) > self._routes4.capacity:
            self._routes4_refused += 1  # the routes of before are better than none
            return
        self._routes4.publish(table.starts, table.values)
        self._published = self._turns.snapshot()
        self._used4[:] = False
        self._used4[table.values] = True
        self._book.release_all_but(self._used4 | self._used6)

    def _neighbours4(self, now: float) -> tuple[npt.NDArray[np.uint32], HopIds]:
        """On-link IPv4 neighbours that can be reached: ascending addresses, and their hops."""
        keys = [
            key
            for key, neighbour in self._state.neighbours.items()
            if key[1].version == 4 and key[0] in self._links and neighbour.usable
        ]
        self._known4 = set(keys)
        keys.sort(key=_address)
        addresses = np.array([int(ip) for _, ip in keys], np.uint32)
        targets = [self._fib4.targets[v] for v in lookup4(self._fib4.intervals, addresses)]
        on_link = [
            key
            for key, target in zip(keys, targets, strict=True)
            if (target.action, target.ifindex) == (Action.ON_LINK, key[0])
        ]
        found = {key: self._book.hop_of(key, now) for key in on_link}
        found = {key: hop for key, hop in found.items() if hop != UNREACHABLE_HOP}
        return (
            np.array([int(ip) for _, ip in found], np.uint32),
            np.array(list(found.values()), np.uint32),
        )

    def _hops_by_target(
        self, targets: tuple[Target, ...], wanted: Values | range, now: float
    ) -> HopIds:
        """Hops by position in `targets`; a gateway gets one only if its position is `wanted`."""
        hops = np.zeros(len(targets), np.uint32)
        for number in wanted:
            target = targets[number]
            if target.gateway is not None:
                hops[number] = self._book.hop_of((target.ifindex, target.gateway), now)
            else:
                hops[number] = FIXED[target.action]
        return hops

    def _on_link6(self, client6: Words6, values: Values, now: float) -> HopIds:
        """A hop for each client that is itself the neighbour; `values` are its targets."""
        octets = np.ascontiguousarray(client6).view(WIRE6).reshape(-1)
        clients, first, back = np.unique(octets, return_index=True, return_inverse=True)
        found = np.zeros(len(clients), np.uint32)
        for number, client in enumerate(clients.tolist()):
            ifindex = self._fib6.targets[values[first[number]]].ifindex
            address = IPv6Address(client.ljust(16, b"\0"))  # numpy leaves out the zeros behind
            found[number] = self._book.hop_of((ifindex, address), now)
        return found[back]


def _address(key: NeighbourKey) -> int:
    return int(key[1])
