"""Reservations: addresses that belong to one client, whoever else asks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.leases.lease import LeaseRequest
    from dstmrouter.leases.pool import AddressSpace

Owner: TypeAlias = "tuple[IPv6Address | None, str]"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """`ipv4` for the client with this `client6` and this `identity`; one of them may be absent.

    Where the address is shared, it is the port set `psid` of it.
    """

    ipv4: IPv4Address
    psid: int = 0
    client6: IPv6Address | None = None
    identity: str = ""

    def is_for(self, client6: IPv6Address, identity: str) -> bool:
        """Whether this client is meant."""
        return self.client6 in {None, client6} and self.identity in {"", identity}


class Reservations:
    """Reservations by owner and by slot of `space`; both look-ups take constant time.

    Raises ConfigError for an address that is in no pool or reserved twice, for an owner with two
    addresses, and for a reservation without an owner.
    """

    def __init__(self, reservations: Iterable[Reservation], space: AddressSpace) -> None:
        self._by_owner: dict[Owner, int] = {}
        self._by_slot: dict[int, Reservation] = {}
        for reservation in reservations:
            slot = space.slot(reservation.ipv4, reservation.psid)
            owner = (reservation.client6, reservation.identity)
            if slot is None:
                raise ConfigError(f"reservation {reservation.ipv4}: the address is in no pool")
            if owner == (None, ""):
                raise ConfigError(f"reservation {reservation.ipv4}: for nobody")
            if slot in self._by_slot or owner in self._by_owner:
                raise ConfigError(f"reservation {reservation.ipv4}: address or client occurs twice")
            self._by_owner[owner] = slot
            self._by_slot[slot] = reservation

    def __contains__(self, slot: int) -> bool:
        return slot in self._by_slot

    @property
    def slots(self) -> tuple[int, ...]:
        """All reserved slots."""
        return tuple(self._by_slot)

    def slot_for(self, request: LeaseRequest) -> int | None:
        """The slot that is kept for whoever asks; the most exact reservation counts."""
        if not self._by_owner:  # hashing IPv6 addresses costs more than all else here
            return None
        client6, identity = request.client6, request.identity
        for owner in ((client6, identity), (client6, ""), (None, identity)):
            if owner in self._by_owner:
                return self._by_owner[owner]
        return None

    def keep_from(self, slot: int, client6: IPv6Address, identity: str) -> bool:
        """Whether `slot` is reserved, and for somebody else than this client."""
        reservation = self._by_slot.get(slot)
        return reservation is not None and not reservation.is_for(client6, identity)
