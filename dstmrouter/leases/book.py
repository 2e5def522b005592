"""`LeaseBook`: the rules of lending, without I/O and without a clock.

Every method checks first, then changes one row, and returns the rows it changed: what the caller
must store, and tell the routers, before it promises anything. A refusal is a `LeaseError` and has
changed nothing.

The rules: one holder per address and one address per client6 (RFC 8539 section 8.2). Which address
that is, `leases.choice` says. An address ends as `leases.state` describes; it is free again only
after `removed` or the end of the routers' own expiry, and its quarantine.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.errors import LeaseError
from dstmrouter.leases.bindings import all_bindings
from dstmrouter.leases.choice import Choice
from dstmrouter.leases.free import FreeSlots
from dstmrouter.leases.lease import (
    FIRST_LEASE_ID,
    Lease,
    LeaseRequest,
    LeaseTerms,
    check_request,
)
from dstmrouter.leases.quota import NO_LIMITS, Holdings, Quotas
from dstmrouter.leases.recut import recut_leases
from dstmrouter.leases.reservation import Reservations
from dstmrouter.leases.state import BOUND, TIMED, Input, State, step
from dstmrouter.leases.table import LeaseColumns, LeaseTable
from dstmrouter.leases.times import routers_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.binding import BindingColumns
    from dstmrouter.leases.pool import AddressSpace, Slots
    from dstmrouter.leases.reservation import Reservation


class LeaseBook:
    """All leases of the pools of `space`, on `terms`; clients at one of `tep6` are refused.

    Raises ConfigError for `reservations` that do not fit `space` or each other.
    """

    def __init__(
        self,
        space: AddressSpace,
        terms: LeaseTerms,
        *,
        tep6: Iterable[IPv6Address] = (),
        reservations: Iterable[Reservation] = (),
        quotas: Quotas = NO_LIMITS,
        free: FreeSlots | None = None,
    ) -> None:
        self.space = space
        self.terms = terms
        self.table = LeaseTable(space)
        self._tep6 = frozenset(tep6)
        self._reservations = Reservations(reservations, space)
        self._free = FreeSlots(space.bounds) if free is None else free
        self._holdings = Holdings(quotas)
        self._choice = Choice(
            self.table,
            self._free,
            self._reservations,
            one_per_identity=quotas.per_identity == 1,
        )
        self._free_in_order(np.arange(space.capacity))
        self._last_lease_id = FIRST_LEASE_ID - 1
        self._next_due: float | None = None  # never later than the first end of a state

    def restore(self, stored: LeaseColumns) -> list[Lease]:
        """Take over what was stored, once, before anything else.

        Leases that the configuration does not allow any more end, and these changes are returned:
        of a client that holds two addresses, because a pool came back, the older one, and what was
        lent of an address that is now shared in another way, or not at all.
        """
        doubled = self.table.load(stored)
        recut = recut_leases(self.table, stored, self.terms.grace_s)
        free = self.table.in_states(frozenset({State.FREE}))
        # Never lent before (`lease_id` 0) counts as free for the longest time.
        since = np.where(self.table.lease_id[free] == 0, -np.inf, self.table.until[free])
        self._free.clear()
        self._free_in_order(free[np.argsort(since, kind="stable")])
        if len(stored):
            self._last_lease_id = max(self._last_lease_id, int(stored.lease_id.max()))
        self._holdings.load(self.table)
        self._next_due = self.table.next_due()
        ended = [slot for slot in doubled.tolist() if self.table.get(slot).bound]
        return recut + [self._end(slot, Input.RELEASE) for slot in ended]

    @property
    def last_lease_id(self) -> int:
        """The number of the newest lease or offer; what is extended keeps its own."""
        return self._last_lease_id

    def grant(self, request: LeaseRequest, now: float) -> Lease:
        """Lend an address, or extend what the client holds: asking twice is the same."""
        lifetime_s = self.terms.lifetime_s(request.lifetime_s)
        return self._lend(request, Input.GRANT, now + lifetime_s)

    def offer(self, request: LeaseRequest, now: float) -> Lease:
        """Set an address aside until the client takes it with `grant`, or the offer ends."""
        return self._lend(request, Input.OFFER, now + self.terms.offer_s)

    def renew(
        self, ipv4: IPv4Address, client6: IPv6Address, now: float, *, lifetime_s: float | None
    ) -> Lease:
        """Extend a lease; its end never moves back."""
        slot, lease = self._held(ipv4, client6)
        if lease.state is not State.ACTIVE:
            raise LeaseError("no-lease", f"{ipv4} is offered, not lent")
        self._choice.check_kept(slot, client6, lease.identity)
        until = max(lease.until, now + self.terms.lifetime_s(lifetime_s))
        state = step(lease.state, Input.RENEW)
        return self._write(slot, dataclasses.replace(lease, state=state, until=until))

    def release(
        self, ipv4: IPv4Address, client6: IPv6Address | None = None, *, psid: int = 0
    ) -> Lease:
        """End a lease or offer now; `client6` None is the operator, who may end any.

        A client has one lease, so `psid` is for operators.
        """
        slot, _ = self._held(ipv4, client6, psid)
        return self._end(slot, Input.RELEASE)

    def removed(
        self, ipv4: IPv4Address, lease_id: int, now: float, *, psid: int = 0
    ) -> Lease | None:
        """Start the quarantine: no router has this lease any more.

        None when the address went on without waiting, because the routers' expiry has passed or its
        holder has it back.
        """
        if not self.is_removing(ipv4, lease_id, psid=psid):
            return None
        slot = self._slot(ipv4, psid)
        lease = self.table.get(slot)
        state = step(lease.state, Input.REMOVED)
        until = now + self.terms.quarantine_s
        return self._write(slot, dataclasses.replace(lease, state=state, until=until))

    def hold(self, ipv4: IPv4Address, *, psid: int = 0) -> Lease:
        """Take an address away from everybody until `unhold`: an operator's decision."""
        slot = self._slot(ipv4, psid)
        if self.table.get(slot).state is State.HELD:
            raise LeaseError("held", f"{ipv4} is held already")
        return self._end(slot, Input.HOLD)

    def unhold(self, ipv4: IPv4Address, *, psid: int = 0) -> Lease:
        """Let a held address go its way to FREE."""
        slot = self._slot(ipv4, psid)
        if self.table.get(slot).state is not State.HELD:
            raise LeaseError("not-held", f"{ipv4} is not held")
        return self._end(slot, Input.UNHOLD)

    def expire(self, now: float, *, limit: int = 2_000) -> list[Lease]:
        """Move at most `limit` addresses on whose state has ended by itself at `now`.

        `next_timer` tells whether more are waiting.
        """
        changed = [self._end(slot, Input.TIMEOUT) for slot in self.table.due(now)[:limit].tolist()]
        self._next_due = self.table.next_due()
        return changed

    def next_timer(self) -> float | None:
        """When to call `expire` next; it may find nothing then. None: nothing will end."""
        return self._next_due

    def find(self, lease_id: int) -> Lease:
        """The lease or offer with this number, in force."""
        for slot in np.flatnonzero(self.table.lease_id == lease_id).tolist():
            lease = self.table.get(slot)
            if lease.bound:
                return lease
        raise LeaseError("no-lease", f"no lease has the number {lease_id}")

    def lease_of(self, client6: IPv6Address) -> Lease | None:
        """The lease or offer that `client6` holds."""
        slot = self.table.slot_of(client6)
        lease = None if slot is None else self.table.get(slot)
        return lease if lease is not None and lease.bound else None

    def extended_by(self, request: LeaseRequest) -> Lease | None:
        """The lease or offer in force that `grant` would extend, or move to a new client6."""
        slot = self._choice.extended_by(request)
        return None if slot is None else self.table.get(slot)

    def is_current(self, lease: Lease) -> bool:
        """Whether `lease`, as it was returned some time ago, still binds its address to it."""
        held = self.table.get(self._slot(lease.ipv4, lease.psid))
        same = held.lease_id == lease.lease_id and held.client6 == lease.client6
        return held.bound and same

    def is_removing(self, ipv4: IPv4Address, lease_id: int, *, psid: int = 0) -> bool:
        """Whether this lease has ended but routers may still have it."""
        lease = self.table.get(self._slot(ipv4, psid))
        return lease.lease_id == lease_id and lease.state is State.REMOVING

    def used_percent(self) -> list[float]:
        """How much of each pool cannot be lent now, reserved addresses left aside."""
        return [
            100 * (1 - self._free.count(pool) / size) if size else 0.0
            for pool, size in enumerate(self._choice.lendable)
        ]

    def bindings(self, now: float, tep6: Sequence[IPv6Address]) -> BindingColumns:
        """Everything a router must have at `now`."""
        return all_bindings(self.table, now, grace_s=self.terms.grace_s, tep6=tep6)

    def _free_in_order(self, slots: Slots) -> None:
        """Let the `slots` that are not reserved be lent, the first ones first."""
        slots = slots[~np.isin(slots, self._reservations.slots)]
        for pool, bounds in enumerate(self.space.bounds):
            self._free.give_all(slots[(slots >= bounds.start) & (slots < bounds.stop)], pool)

    def _lend(self, request: LeaseRequest, happened: Input, until: float) -> Lease:
        check_request(request, self._tep6)
        slot = self._choice.slot_for(request)
        old = self.table.get(slot)
        self._holdings.check(request.client6, request.identity, old)
        state = step(old.state, happened)
        extends = old.bound
        lease = Lease(
            lease_id=old.lease_id if extends else self._last_lease_id + 1,
            ipv4=old.ipv4,
            client6=request.client6,
            identity=request.identity,
            state=state,
            until=max(old.until, until) if extends else until,
            port_set=old.port_set,
        )
        if not extends:  # what is extended may have the number of another server
            self._last_lease_id = lease.lease_id
        return self._write(slot, lease)

    def _slot(self, ipv4: IPv4Address, psid: int) -> int:
        slot = self.space.slot(ipv4, psid)
        if slot is None:
            what = f"port set {psid} of {ipv4}" if self.space.slots_of(ipv4) else f"{ipv4}"
            raise LeaseError("no-lease", f"{what} is in no pool")
        return slot

    def _held(
        self, ipv4: IPv4Address, client6: IPv6Address | None, psid: int = 0
    ) -> tuple[int, Lease]:
        slot = None if client6 is None else self.table.slot_of(client6)
        if slot is None or self.space.address(slot) != ipv4:
            slot = self._slot(ipv4, psid)
        lease = self.table.get(slot)
        if lease.state not in BOUND:
            raise LeaseError("no-lease", f"{ipv4} is not lent")
        if client6 is not None and client6 != lease.client6:
            raise LeaseError("not-yours", f"{ipv4} is not lent to {client6}")
        return slot, lease

    def _end(self, slot: int, happened: Input) -> Lease:
        """Take one step towards FREE, or hold; each state ends a fixed time after the one before.

        A state that ended while nobody looked (a restart) counts from its own end, not from now.
        """
        lease = self.table.get(slot)
        state = step(lease.state, happened)
        until = lease.until
        if lease.bound:
            until = routers_until(until, self.terms.grace_s)
        elif state is State.QUARANTINE:
            until += self.terms.quarantine_s
        return self._write(slot, dataclasses.replace(lease, state=state, until=until))

    def _write(self, slot: int, lease: Lease) -> Lease:
        """The only effect: replace one row and keep chains and timer in step with it."""
        self._account(slot, lease)
        self.table.put(slot, lease)
        return lease

    def _account(self, slot: int, lease: Lease) -> None:
        """Chains, counts and timer as they must be when `lease` is the row of `slot`."""
        was_free = slot in self._free
        is_free = lease.state is State.FREE and slot not in self._reservations
        if was_free and not is_free:
            self._free.take(slot, self.space.pool_index(slot))
        elif is_free and not was_free:
            self._free.give(slot, self.space.pool_index(slot))
        if self._holdings.counting:
            self._holdings.change(self.table.get(slot), lease)
        if lease.state in TIMED and (self._next_due is None or lease.until < self._next_due):
            self._next_due = lease.until
