"""A book small enough that every step of a stateful test meets another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.lease import LeaseRequest
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.quota import Quotas
from dstmrouter.leases.reservation import Reservation
from dstmrouter.leases.sharing import Sharing
from tests.leases.lending import FIRST, TERMS, client, pool

if TYPE_CHECKING:
    from dstmrouter.leases.lease import Share

ADDRESSES: Final = 3
RESERVED: Final = 2  # for ann
SHARED: Final = FIRST + ADDRESSES
PLACES_MAX: Final = ADDRESSES + 2  # and one address for two
QUOTAS: Final = Quotas(per_identity=2, per_64=3)


def small_book() -> LeaseBook:
    """Three addresses, one of them for ann, and two halves of another one."""
    space = AddressSpace(
        [
            pool(str(FIRST), str(FIRST + ADDRESSES - 1)),
            Pool.of("shared", [(SHARED, SHARED)], sharing=Sharing(6, 1)),
        ]
    )
    ann = Reservation(ipv4=FIRST + RESERVED, identity="ann")
    return LeaseBook(space, TERMS, reservations=[ann], quotas=QUOTAS)


def small_wish(number: int, hint: Share | None, identity: str) -> LeaseRequest:
    """Clients with odd numbers can do with a port set; 3 wants one, and cannot hint at a PSID."""
    ipv4, psid = (None, 0) if hint is None else hint
    return LeaseRequest(
        client6=client(number),
        identity=identity,
        hint=ipv4,
        hint_psid=None if number == 3 else psid,
        want_psid_len=1 if number == 3 else 0,
        takes_port_set=number % 2 == 1,
    )
