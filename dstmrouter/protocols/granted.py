"""`GrantedLease`: what a client was given, whichever protocol it asked in.

Times are relative, as on the wire: a client counts from the moment at which it *sent* its request,
so that its lease ends before the server's, whatever the clocks say.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortSet:
    """A share of an address's ports (RFC 7597 section 5.1); lengths in bits."""

    psid_offset: int
    psid_len: int
    psid: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GrantedLease:
    """An IPv4 address lent to `client6`, and the tunnel end point to use it through."""

    client4: IPv4Address
    client6: IPv6Address
    tep4: IPv4Address
    tep6: IPv6Address
    lifetime_s: int  # from the moment the request was sent
    lease_id: int | None = None  # where the protocol has one
    port_set: PortSet | None = None  # None: the whole address
    mtu: int | None = None  # of the tunnel interface, where the protocol tells
    keepalive_s: int | None = None  # interval of pings to tep4, where the protocol tells
