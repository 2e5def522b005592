"""Leases for the tests of a client's life."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from dstmrouter.protocols.granted import GrantedLease

HOME6: Final = IPv6Address("2001:db8:1::11")
AWAY6: Final = IPv6Address("2001:db8:2::22")
FIRST4: Final = IPv4Address("203.0.113.1")
OTHER4: Final = IPv4Address("203.0.113.2")


def lease(client4: IPv4Address = FIRST4, lifetime_s: int = 1000, **changes: Any) -> GrantedLease:
    given: dict[str, Any] = {
        "client4": client4,
        "client6": HOME6,
        "tep4": IPv4Address("192.0.2.1"),
        "tep6": IPv6Address("2001:db8:f::1"),
        "lifetime_s": lifetime_s,
    }
    return GrantedLease(**given | changes)
