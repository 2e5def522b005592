"""What to change on this host so that the tunnel is as wanted: planned here, done by `dti.host`.

Whatever was found is either wanted already, or ours and repaired (a killed client's remains), or
somebody else's. Somebody else's is never touched: `refusals` says what is in the way.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from dstmrouter.dti.tunnel import TABLE_MAIN, Kind, Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from ipaddress import IPv4Address, IPv4Network, IPv6Address

MARK: Final = "dstm-client"  # alias of an interface that is ours

Verb: TypeAlias = Literal["add", "del"]


@dataclasses.dataclass(frozen=True, slots=True)
class Ends:
    """What makes two ip6tnl interfaces the same tunnel."""

    client6: IPv6Address
    tep6: IPv6Address
    interface: str | None
    encap_limit: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface as found; `ends` is None unless it is an ip6tnl."""

    index: int
    kind: str
    alias: str
    mtu: int
    up: bool
    ends: Ends | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """An address of the interface: the host's own and, on a point-to-point link, the peer's."""

    local: IPv4Address
    peer: IPv4Address | None


@dataclasses.dataclass(frozen=True, slots=True)
class Uses:
    """How an interface is used; `table` is that of its routes."""

    name: str
    mtu: int
    address: Address
    table: int = TABLE_MAIN


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The facts on this host that decide what there is to do."""

    link: Link | None = None  # of the wanted name
    addresses: frozenset[Address] = frozenset()  # on that link
    routes: frozenset[IPv4Network] = frozenset()  # through that link, in the wanted table
    local6: frozenset[IPv6Address] = frozenset()  # of all interfaces
    client4_on: str | None = None  # another interface that has client4
    other_routes: Mapping[IPv4Network, str] = dataclasses.field(default_factory=dict)
    tep6_through: str | None = None  # interface; None: no route
    held: bool = False  # that link is the TUN device of this very process


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteLink:
    """Remove our interface, and with it the addresses and routes on it."""

    index: int

    def __str__(self) -> str:
        return f"delete interface {self.index}"


@dataclasses.dataclass(frozen=True, slots=True)
class CreateLink:
    """Make the interface."""

    kind: Kind
    name: str
    ends: Ends | None  # None: a TUN device without a tunnel

    def __str__(self) -> str:
        ends = f" from {self.ends.client6} to {self.ends.tep6}" if self.ends else ""
        return f"create {self.kind} {self.name}{ends}"


@dataclasses.dataclass(frozen=True, slots=True)
class QuietLink:
    """Turn IPv6 off on it: no IPv6 route, tep6's above all, can then lead into it (R10)."""

    name: str

    def __str__(self) -> str:
        return f"disable IPv6 on {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class SetLink:
    """Mark it as ours, set its MTU, bring it up."""

    name: str
    mtu: int

    def __str__(self) -> str:
        return f"set {self.name} up, mtu {self.mtu}"


@dataclasses.dataclass(frozen=True, slots=True)
class ChangeAddress:
    """Add or delete an address."""

    verb: Verb
    name: str
    address: Address

    def __str__(self) -> str:
        peer = f" peer {self.address.peer}" if self.address.peer else ""
        return f"{self.verb} address {self.address.local}{peer} on {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class ChangeRoute:
    """Add a route through the interface that prefers `source`, or delete one."""

    verb: Verb
    name: str
    prefix: IPv4Network
    source: IPv4Address
    table: int = TABLE_MAIN

    def __str__(self) -> str:
        table = "" if self.table == TABLE_MAIN else f", table {self.table}"
        return f"{self.verb} route {self.prefix} through {self.name}{table}"


Step: TypeAlias = DeleteLink | CreateLink | QuietLink | SetLink | ChangeAddress | ChangeRoute


def plan(wanted: Tunnel, kind: Kind, found: Found) -> list[Step]:
    """Steps from `found` to `wanted`, in order; the caller has asked `refusals` before."""
    ends = Ends(wanted.client6, wanted.tep6, wanted.interface, wanted.encap_limit)
    steps: list[Step] = []
    if found.link is not None and not _fits(found.link, kind, ends, held=found.held):
        steps.append(DeleteLink(found.link.index))
        found = Found()  # whatever was on the deleted link went with it
    uses = Uses(wanted.name, wanted.mtu, Address(wanted.client4, wanted.tep4), wanted.table)
    return steps + _link_steps(uses, CreateLink(kind, wanted.name, ends), wanted.routes, found)


def plan_waiting(uses: Uses, routes: Iterable[IPv4Network], found: Found) -> list[Step]:
    """Steps to a TUN device without a tunnel: packets can come out of it and go nowhere yet."""
    return _link_steps(uses, CreateLink(Kind.TUN, uses.name, None), routes, found)


def _link_steps(
    uses: Uses, create: CreateLink, routes: Iterable[IPv4Network], found: Found
) -> list[Step]:
    name, link = uses.name, found.link
    steps: list[Step] = [create] if link is None else []
    if link is None or (link.alias, link.mtu, link.up) != (MARK, uses.mtu, True):
        steps += [QuietLink(name), SetLink(name, uses.mtu)]

    def route(verb: Verb, prefix: IPv4Network) -> Step:
        return ChangeRoute(verb, name, prefix, uses.address.local, uses.table)

    # the kernel drops routes that prefer a deleted source, so another address means all routes anew
    kept = found.routes & set(routes) if found.addresses == {uses.address} else frozenset()
    steps += [route("del", old) for old in sorted(found.routes - kept)]
    others = [old for old in found.addresses if old != uses.address]
    steps += [ChangeAddress("del", name, old) for old in others]
    if uses.address not in found.addresses:
        steps.append(ChangeAddress("add", name, uses.address))
    return steps + [route("add", new) for new in sorted(set(routes) - kept)]


def refusals(wanted: Tunnel, found: Found, *, ours: bool) -> Iterator[str]:
    """Say why the tunnel must not be made here; nothing if it may.

    `ours` tells that the link of this name, if there is one, is a former run's.
    """
    name, link = wanted.name, found.link
    reasons = {
        f"interface {name} exists and is not ours: choose another name": link and not ours,
        f"interface {name} is in use by another client": (
            link and ours and link.kind == Kind.TUN and not found.held
        ),
        f"client6 {wanted.client6} is no address of this host": wanted.client6 not in found.local6,
        # RFC 2473 section 4.1.2: both ends on one host
        f"tep6 {wanted.tep6} is an address of this host": wanted.tep6 in found.local6,
        f"the route to tep6 {wanted.tep6} leads into {name} itself": found.tep6_through == name,
        f"client4 {wanted.client4} is already an address of {found.client4_on}": found.client4_on,
    }
    yield from (text for text, applies in reasons.items() if applies)
    for prefix in wanted.routes:
        if prefix in found.other_routes:
            via = found.other_routes[prefix]
            yield f"a route to {prefix} through {via} exists: native IPv4 is not replaced"


def is_ours(link: Link, former: Ends | None) -> bool:
    """Tell whether a former run made `link`.

    Its alias says so; a client killed before it set the alias has left its state: `former`.
    """
    return link.alias == MARK or (former is not None and link.ends == former)


def _fits(link: Link, kind: Kind, ends: Ends, *, held: bool) -> bool:
    if kind is Kind.TUN:  # its ends are the carrier's, not the kernel's
        return held
    return link.kind == kind and link.ends == ends
