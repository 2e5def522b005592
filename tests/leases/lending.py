"""Small pools, clients and books for the tests of leases."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.lease import LeaseRequest, LeaseTerms
from dstmrouter.leases.pool import AddressSpace, Pool, PortSets
from dstmrouter.leases.table import LeaseColumns

if TYPE_CHECKING:
    from dstmrouter.leases.lease import Lease

TEP6: Final = IPv6Address("2001:db8:f::1")
TERMS: Final = LeaseTerms(
    default_s=100, min_s=10, max_s=1000, offer_s=5, grace_s=30, quarantine_s=240
)
FIRST: Final = IPv4Address("192.0.2.0")


def pool(first: str, last: str, name: str = "main", exclude: tuple[str, ...] = ()) -> Pool:
    holes = [(IPv4Address(hole), IPv4Address(hole)) for hole in exclude]
    return Pool.of(name, [(IPv4Address(first), IPv4Address(last))], holes)


def book_of(addresses: int, *, terms: LeaseTerms = TERMS) -> LeaseBook:
    """A book over one pool from 192.0.2.0 on."""
    space = AddressSpace([pool(str(FIRST), str(FIRST + addresses - 1))])
    return LeaseBook(space, terms, tep6=[TEP6])


def client(number: int) -> IPv6Address:
    return IPv6Address("2001:db8::") + number


def wish(number: int, hint: int | None = None, identity: str = "") -> LeaseRequest:
    """A request of client `number`; `hint` counts from the pool's first address."""
    ipv4 = None if hint is None else FIRST + hint
    return LeaseRequest(client6=client(number), identity=identity, hint=ipv4)


def columns(leases: list[Lease]) -> LeaseColumns:
    """Rows as a store loads them; ascending by address."""
    octets = b"".join(lease.client6.packed for lease in leases)
    return LeaseColumns(
        ipv4=np.array([int(lease.ipv4) for lease in leases], np.uint32),
        client6=np.frombuffer(octets, "<u8").reshape(-1, 2),
        state=np.array([lease.state for lease in leases], np.uint8),
        lease_id=np.array([lease.lease_id for lease in leases], np.int64),
        until=np.array([lease.until for lease in leases]),
        identity=tuple(lease.identity for lease in leases),
        port_sets=PortSets(
            np.array([ports.psid_offset if (ports := lease.port_set) else 0 for lease in leases]),
            np.array([ports.psid_len if (ports := lease.port_set) else 0 for lease in leases]),
            np.array([lease.psid for lease in leases], np.uint16),
        ),
    )


def stored(book: LeaseBook) -> LeaseColumns:
    """All rows of a book."""
    rows = [book.table.get(slot) for slot in range(book.space.capacity)]
    return columns(sorted((row for row in rows if row.lease_id), key=lambda row: row.share))
