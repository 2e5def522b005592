"""Which address a request gets: the order of preference, and who may have what.

1. The address that the client holds.
2. The address that its identity holds under another client6, when the client has moved.
3. The address that it held last.
4. The address reserved for it.
5. The address it hints at, where it is free.
6. The address that is free for the longest time, of the first pool that is open to the client.

A client has moved (RFC 7596 section 5.1) when it hints at an address of its identity, or when its
identity may hold no more than one. A hint at a shared address that does not say which port set
means the one that the identity has, if that is a single one; else any that is free.

A port set goes only to who can do with one (RFC 7618 section 8.1). Who wants one is lent nothing
else, and the pools are tried by how near they come to the length that is wanted.

What a client holds it may keep where it is, whatever pools say of others since; only a reservation
for somebody else ends that. Nothing is changed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.errors import LeaseError
from dstmrouter.leases.state import BOUND, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv6Address

    from dstmrouter.leases.free import FreeSlots
    from dstmrouter.leases.lease import LeaseRequest
    from dstmrouter.leases.reservation import Reservations
    from dstmrouter.leases.table import LeaseTable

RETURNABLE: Final = frozenset({State.FREE, State.REMOVING, State.QUARANTINE})
"""A former holder may have its address back from these states."""

MOVABLE: Final = BOUND | {State.REMOVING, State.QUARANTINE}
"""An identity may take its address along from these states; a free one it may hint at."""


class Choice:
    """Chooses slots of `table`; `free` are the free ones that are not reserved."""

    def __init__(
        self,
        table: LeaseTable,
        free: FreeSlots,
        reservations: Reservations,
        *,
        one_per_identity: bool = False,
    ) -> None:
        self._table = table
        self._space = table.space
        self._free = free
        self._reservations = reservations
        self._one_per_identity = one_per_identity
        sizes = [len(pool) for pool in self._space.pools]
        for slot in reservations.slots:
            sizes[self._space.pool_index(slot)] -= 1
        self.lendable: Final = tuple(sizes)
        """How many addresses of each pool are not reserved."""

    def slot_for(self, request: LeaseRequest) -> int:
        """The slot to lend; a `LeaseError` says why there is none."""
        own = self._own(request)
        if own is not None and self._table.is_bound(own):
            self.check_kept(own, request.client6, request.identity)
            if not request.takes_port_set and self._space.port_set(own) is not None:
                raise LeaseError("port-set", f"{request.client6} has a port set, and asks for none")
            return own
        slot = self._free_for(request, own)
        if own is not None and own != slot and self._table.get(own).state is State.REMOVING:
            # Routers must not see two leases of one client6.
            raise _still_removing(request.client6)
        return slot

    def _free_for(self, request: LeaseRequest, own: int | None) -> int:
        """The slot to lend to a client that holds none; `own` is what it held last."""
        moving = self._moving(request)
        if moving is not None:
            return moving
        if own is not None and self._may_return(own, request):
            return own
        reserved = self._reservations.slot_for(request)
        if (
            reserved is not None
            and self._suits(reserved, request)
            and self._is_ready(reserved, request)
        ):
            return reserved
        return self._unlent(request, self._open_pools(request))

    def extended_by(self, request: LeaseRequest) -> int | None:
        """The slot of the lease or offer in force that `request` would extend or move."""
        own = self._table.slot_of(request.client6)
        for slot in (own, self._moving(request)):
            if slot is not None and self._table.is_bound(slot):
                return slot
        return None

    def check_kept(self, slot: int, client6: IPv6Address, identity: str) -> None:
        """Refuse to extend a lease of an address that has been reserved for somebody else since."""
        if self._reservations.keep_from(slot, client6, identity):
            ipv4 = self._space.address(slot)
            raise LeaseError("reserved", f"{ipv4} is reserved for another client by now")

    def _own(self, request: LeaseRequest) -> int | None:
        """The slot that the client holds or held last; another identity must wait for its end."""
        slot = self._table.slot_of(request.client6)
        if slot is None:
            return None
        own = self._table.get(slot)
        if own.identity == request.identity:
            return slot
        if own.bound:
            raise LeaseError("not-yours", f"{own.client6} has a lease under another identity")
        if own.state is State.REMOVING:
            raise _still_removing(own.client6)
        return None

    def _suits(self, slot: int, request: LeaseRequest) -> bool:
        return _is_wanted(request, shared=self._space.port_set(slot) is not None)

    def _moving(self, request: LeaseRequest) -> int | None:
        """The slot that the client's identity takes along to its new client6."""
        if not request.identity:
            return None
        slot = self._meant(request)
        if slot is None and self._one_per_identity:
            slot = self._table.slot_of_identity(request.identity)
        return slot if slot is not None and self._may_move(slot, request) else None

    def _meant(self, request: LeaseRequest) -> int | None:
        """The slot of the client's identity that the hint means, if it can be but one."""
        hinted = self._hinted(request)
        own = self._table.slot_of(request.client6)
        if own is not None and own in hinted:
            return None  # its own former one: it has not moved
        movable = [slot for slot in hinted if self._may_move(slot, request)]
        bound = [slot for slot in movable if self._table.is_bound(slot)]
        meant = bound or movable
        return meant[0] if len(meant) == 1 else None

    def _may_move(self, slot: int, request: LeaseRequest) -> bool:
        if self._table.identity(slot) != request.identity:
            return False
        row = self._table.get(slot)
        return (
            row.client6 != request.client6 and row.state in MOVABLE and self._is_for(slot, request)
        )

    def _may_return(self, slot: int, request: LeaseRequest) -> bool:
        return self._table.get(slot).state in RETURNABLE and self._is_for(slot, request)

    def _is_for(self, slot: int, request: LeaseRequest) -> bool:
        """Whether reservations, the pool and port sets let the client have `slot`."""
        if not self._suits(slot, request):
            return False
        if slot in self._reservations:
            return not self._reservations.keep_from(slot, request.client6, request.identity)
        pool = self._space.pools[self._space.pool_index(slot)]
        return pool.selector.fits(request.client6, request.identity)

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
        pools = self._space.pools
        fitting = [n for n, pool in enumerate(pools) if pool.selector.fits(client6, identity)]
        if not fitting:
            raise LeaseError("no-pool", "no pool is for this client")
        suitable = [n for n in fitting if _is_wanted(request, shared=pools[n].sharing.psid_len > 0)]
        if not suitable and request.want_psid_len:
            raise LeaseError("no-port-set", "no pool has port sets for this client")
        if not suitable:
            raise LeaseError("no-pool", "the pools for this client have port sets only")
        if request.want_psid_len:
            suitable.sort(key=lambda n: abs(pools[n].sharing.psid_len - request.want_psid_len))
        if identity or self._table.slot_of(client6) is not None:
            return suitable
        return self._for_strangers(suitable)

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

    def _hinted(self, request: LeaseRequest) -> Sequence[int]:
        """The slots that the client would like."""
        if request.hint is None:
            return ()
        if request.hint_psid is None:
            return self._space.slots_of(request.hint)
        slot = self._space.slot(request.hint, request.hint_psid)
        return () if slot is None else (slot,)

    def _unlent(self, request: LeaseRequest, pools: list[int]) -> int:
        hinted = [slot for slot in self._hinted(request) if slot in self._free]
        if hinted and self._space.pool_index(hinted[0]) in pools:  # one address, so one pool
            return min(hinted, key=lambda slot: self._table.identity(slot) != request.identity)
        for pool in pools:
            oldest = self._free.oldest(pool)
            if oldest is not None:
                return oldest
        raise LeaseError("no-address", "no address is free")


def _is_wanted(request: LeaseRequest, *, shared: bool) -> bool:
    """Whether the client may be lent a port set (`shared`), or a whole address, anew."""
    return request.takes_port_set if shared else not request.want_psid_len


def _still_removing(client6: IPv6Address) -> LeaseError:
    return LeaseError("try-again", f"the former lease of {client6} is being removed")
