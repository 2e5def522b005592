"""What the life of a client asks its surroundings to do; in their order, each to its end."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import GrantedLease


class Reason(Enum):
    """Why a lease is no longer used."""

    EXPIRED = "expired"
    MOVED = "moved"
    RELEASED = "released"
    REPLACED = "replaced"


@dataclasses.dataclass(frozen=True, slots=True)
class Discover:
    """Look for servers and for client6; answer: `found` or `no_server`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask server number `server`; with `renew`, extend that lease, else obtain one."""

    serial: int
    server: int
    client6: IPv6Address
    hint4: IPv4Address | None
    renew: GrantedLease | None


@dataclasses.dataclass(frozen=True, slots=True)
class Abandon:
    """Stop asking; nothing is waited for."""


@dataclasses.dataclass(frozen=True, slots=True)
class SetUp:
    """Make the tunnel of `lease`, in place of the one there is."""

    lease: GrantedLease


@dataclasses.dataclass(frozen=True, slots=True)
class Verify:
    """Ask the other end for a sign of life; answer: `verified` or `silent`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Clear:
    """Remove the tunnel; answer: `cleared`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Give `lease` back to server number `server`; answer: `released`, also if that failed."""

    lease: GrantedLease
    server: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tell:
    """Tell hooks; `ended` is None while the lease is used."""

    lease: GrantedLease
    ended: Reason | None = None
    renewed: bool = False


Action: TypeAlias = Discover | Ask | Abandon | SetUp | Verify | Clear | Release | Tell
