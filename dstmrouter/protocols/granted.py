"""`GrantedLease`: what a client was given, whichever protocol it asked in.

Times are relative, as on the wire: a client counts from the moment at which it *sent* its request,
so that its lease ends before the server's, whatever the clocks say.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

PORT_BITS: Final = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortSet:
    """A share of an address's ports (RFC 7597 section 5.1); lengths in bits.

    It comes from the wire as it is; `fault` tells what is wrong with it.
    """

    psid_offset: int
    psid_len: int
    psid: int

    def __str__(self) -> str:
        return f"{self.psid_offset}/{self.psid_len}/{self.psid}"

    @property
    def fault(self) -> str | None:
        """Why this is no port set, or None."""
        if self.psid_len < 1 or self.psid_offset < 0:
            return "expected a PSID of 1 bit or more, and an offset of 0 or more"
        if self.psid_offset + self.psid_len > PORT_BITS:
            return f"expected at most {PORT_BITS} bits of offset and PSID together"
        if not 0 <= self.psid < 1 << self.psid_len:
            return f"expected a PSID below {1 << self.psid_len}"
        return None

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Its ports as ranges (first, last), ascending."""
        length = PORT_BITS - self.psid_offset - self.psid_len
        firsts = [
            (a << (PORT_BITS - self.psid_offset)) | (self.psid << length)
            for a in range(min(self.psid_offset, 1), 1 << self.psid_offset)
        ]
        return [(first, first + (1 << length) - 1) for first in firsts]


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
