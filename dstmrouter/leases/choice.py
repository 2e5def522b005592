"""Which address a request gets: the order of preference, and who may have what.

1. The address that the client holds or held last.
2. The address reserved for it.
3. The address it hints at, where it is free.
4. The address that is free for the longest time, of the first pool that is open to the client.

What a client holds it may keep, whatever pools say of others since; only a reservation for
somebody else ends that. Nothing is changed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.errors import LeaseError
from dstmrouter.leases.state import State

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from dstmrouter.leases.free import FreeSlots
    from dstmrouter.leases.lease import LeaseRequest
    from dstmrouter.leases.reservation import Reservations
    from dstmrouter.leases.table import LeaseTable

RETURNABLE: Final = frozenset({State.FREE, State.REMOVING, State.QUARANTINE})
"""A former holder may have its address back from these states."""


class Choice:
    """Chooses slots of `table`; `free` are the free ones that are not reserved."""

    def __init__(self, table: LeaseTable, free: FreeSlots, reservations: Reservations) -> None:
        self._table = table
        self._space = table.space
        self._free = free
        self._reservations = reservations
        sizes = [len(pool) for pool in self._space.pools]
        for slot in reservations.slots:
            sizes[self._space.pool_index(slot)] -= 1
        self.lendable: Final = tuple(sizes)
        """How many addresses of each pool are not reserved."""

    def slot_for(self, request: LeaseRequest) -> int:
        """The slot to lend; a `LeaseError` says why there is none."""
        own = self._table.slot_of(request.client6)
        if own is not None and self._may_keep(own, request):
            return own
        reserved = self._reservations.slot_for(request)
        if reserved is not None and self._is_ready(reserved, request):
            return reserved
        return self._unlent(request, self._open_pools(request))

    def check_kept(self, slot: int, client6: IPv6Address, identity: str) -> None:
        """Refuse to extend a lease of an address that has been reserved for somebody else since."""
        if self._reservations.keep_from(slot, client6, identity):
            ipv4 = self._space.address(slot)
            raise LeaseError("reserved", f"{ipv4} is reserved for another client by now")

    def _may_keep(self, slot: int, request: LeaseRequest) -> bool:
        own = self._table.get(slot)
        if own.identity == request.identity:
            if own.bound:
                self.check_kept(slot, request.client6, request.identity)
                return True
            return own.state in RETURNABLE and self._may_return(slot, request)
        if own.bound:
            raise LeaseError("not-yours", f"{own.client6} has a lease under another identity")
        if own.state is State.REMOVING:  # routers must not see two leases of one client
            raise LeaseError("try-again", f"the former lease of {own.client6} is being removed")
        return False

    def _may_return(self, slot: int, request: LeaseRequest) -> bool:
        if self._reservations.keep_from(slot, request.client6, request.identity):
            return False
        pool = self._space.pools[self._space.pool_index(slot)]
        return slot in self._reservations or pool.selector.fits(request.client6, request.identity)

    def _is_ready(self, slot: int, request: LeaseRequest) -> bool:
        """Whether the reserved `slot` can be lent; another client of the same identity is first."""
        row = self._table.get(slot)
        same_identity = row.identity != "" and row.identity == request.identity
        if row.state is State.FREE or (row.state in RETURNABLE and same_identity):
            return True
        if row.bound and same_identity:
            return False
        raise LeaseError("try-again", f"{row.ipv4} is reserved for this client, but not yet free")

    def _open_pools(self, request: LeaseRequest) -> list[int]:
        client6, identity = request.client6, request.identity
        fitting = [
            number
            for number, pool in enumerate(self._space.pools)
            if pool.selector.fits(client6, identity)
        ]
        if not fitting:
            raise LeaseError("no-pool", "no pool is for this client")
        if identity or self._table.slot_of(client6) is not None:
            return fitting
        return self._for_strangers(fitting)

    def _for_strangers(self, fitting: list[int]) -> list[int]:
        """Those of the `fitting` pools that have more than their reserve."""
        open_ = [
            pool
            for pool in fitting
            if self._free.count(pool) > self._space.pools[pool].reserve * self.lendable[pool]
        ]
        if not open_ and any(self._free.count(pool) for pool in fitting):
            raise LeaseError("no-address", "the last addresses are kept for known clients")
        return open_

    def _unlent(self, request: LeaseRequest, pools: list[int]) -> int:
        if request.hint is not None:
            hinted = self._space.slot(request.hint)
            if (
                hinted is not None
                and hinted in self._free
                and self._space.pool_index(hinted) in pools
            ):
                return hinted
        for pool in pools:
            oldest = self._free.oldest(pool)
            if oldest is not None:
                return oldest
        raise LeaseError("no-address", "no address is free")
