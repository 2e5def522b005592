"""What is asked for, what is lent, and on which terms.

Times are monotonic seconds; the store alone knows the wall clock.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Final, TypeAlias

from dstmrouter.errors import LeaseError
from dstmrouter.leases.state import BOUND, State

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import PortSet

Share: TypeAlias = "tuple[IPv4Address, int]"
"""An address and a PSID: what no two clients have at the same time."""

IDENTITY_LIMIT: Final = 255  # characters
FIRST_LEASE_ID: Final = 1  # 0: the address was never lent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How long things last, in seconds."""

    default_s: float = 900.0
    min_s: float = 60.0
    max_s: float = 86400.0
    offer_s: float = 30.0  # until an offer must have been taken
    grace_s: float = 30.0  # how much longer than the server a router keeps a binding
    quarantine_s: float = 240.0  # at least 2 MSL (RFC 9293 section 3.4.1)

    def lifetime_s(self, wanted_s: float | None) -> float:
        """The lifetime that a client gets when it wants `wanted_s`."""
        return self.default_s if wanted_s is None else min(max(wanted_s, self.min_s), self.max_s)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """A client's wish; `identity` is who authenticated, empty for nobody."""

    client6: IPv6Address
    identity: str = ""
    hint: IPv4Address | None = None  # an address that the client would like
    lifetime_s: float | None = None
    takes_port_set: bool = False  # whether it can do with a share of an address's ports
    want_psid_len: int = 0  # bits; not 0: it wants a port set, if possible of this length
    hint_psid: int | None = None  # the port set of the hint that it would like; None: any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An address, its state and its holder: one row, as it is stored.

    `until` is when the state ends by itself: the end of the offer or lease; for REMOVING the time
    from which no router has the binding; for QUARANTINE its end; a FREE address has been free since
    then. `client6` and `identity` of a FREE address are those of its last holder.
    """

    lease_id: int
    ipv4: IPv4Address
    client6: IPv6Address
    identity: str
    state: State
    until: float
    port_set: PortSet | None = None  # None: the whole address

    @property
    def psid(self) -> int:
        """The number of the port set; 0 for the whole address."""
        return 0 if self.port_set is None else self.port_set.psid

    @property
    def share(self) -> Share:
        """What is lent."""
        return self.ipv4, self.psid

    @property
    def bound(self) -> bool:
        """Whether routers should forward for it."""
        return self.state in BOUND


def check_request(request: LeaseRequest, tep6: Collection[IPv6Address]) -> None:
    """Refuse what nobody can be lent: `tep6` are the routers' own addresses."""
    client6 = request.client6
    if is_nobodys(client6) or client6 in tep6:  # a tunnel from us to us, RFC 2473 section 6.3
        raise LeaseError("bad-client6", f"{client6} cannot be the end of a tunnel")
    if len(request.identity) > IDENTITY_LIMIT:
        raise LeaseError("bad-identity", f"an identity has at most {IDENTITY_LIMIT} characters")
    if not _is_text(request.identity):
        raise LeaseError("bad-identity", f"{request.identity!a} is no text")


@functools.lru_cache(4_096)  # those of clients at work
def is_nobodys(client6: IPv6Address) -> bool:
    """Whether an address is of a kind that no single host can be reached by everywhere."""
    return (
        client6.is_link_local
        or client6.is_multicast
        or client6.is_unspecified
        or client6.is_loopback
        or client6.scope_id is not None
        or client6.ipv4_mapped is not None
    )


def _is_text(identity: str) -> bool:
    """Whether every store can keep it: no NUL (PostgreSQL), no half characters (UTF-8)."""
    try:
        return "\0" not in identity and identity.encode() is not None
    except UnicodeEncodeError:
        return False
