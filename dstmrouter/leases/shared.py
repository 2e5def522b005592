"""`SharedBook`: leases that several servers lend at the same time, as one of them sees them.

The store is the authority, the book a copy that decides fast. A change of the book is a *draft*
until the store has it (`kept`). Before that, what other servers stored meanwhile is taken over
(`adopt`); drafts of the same addresses are void then, and so are those that break a rule together
with what is new (`withdraw_broken`). Whatever is void has left no trace in the book.

Lease numbers begin with the number of the server run, so that no two servers give out the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import BindingColumns, concatenate
from dstmrouter.errors import LeaseError
from dstmrouter.leases.bindings import changed_bindings
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.free import FreeSlots
from dstmrouter.leases.pool import PortSets
from dstmrouter.leases.quota import NO_LIMITS, Quotas
from dstmrouter.leases.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv6Address

    from dstmrouter.leases.lease import Lease, LeaseTerms, Share
    from dstmrouter.leases.pool import AddressSpace
    from dstmrouter.leases.reservation import Reservation
    from dstmrouter.leases.table import LeaseColumns

RUN_SHIFT: Final = 32  # leases of one run; 2^21 runs fit into what JSON readers keep exact
STRIPES: Final = 16
"""Servers whose runs differ by less than this lend from different parts of a pool."""


class SharedBook(LeaseBook):
    """A `LeaseBook` for server run number `run` of a shared store."""

    def __init__(
        self,
        space: AddressSpace,
        terms: LeaseTerms,
        *,
        run: int,
        tep6: Iterable[IPv6Address] = (),
        reservations: Iterable[Reservation] = (),
        quotas: Quotas = NO_LIMITS,
    ) -> None:
        self._stored: dict[int, Lease] = {}  # by slot: what the store has where we have a draft
        self._first_lease_id = run << RUN_SHIFT
        free = FreeSlots(space.bounds, stripes=STRIPES, own=run % STRIPES)
        super().__init__(
            space, terms, tep6=tep6, reservations=reservations, quotas=quotas, free=free
        )

    def restore(self, stored: LeaseColumns) -> list[Lease]:
        """Take over what was stored; number new leases by this run."""
        doubled = super().restore(stored)
        self._last_lease_id = self._first_lease_id
        return doubled

    @property
    def drafts(self) -> list[Share]:
        """Addresses and port sets with changes that are not stored yet."""
        return [self.table.get(slot).share for slot in self._stored]

    def kept(self, leases: Iterable[Lease]) -> None:
        """The store has these rows now."""
        for lease in leases:
            slot = self.slot_of(lease)
            if slot is None:
                continue  # the end of what was shared in another way
            if self.table.get(slot) == lease:
                self._stored.pop(slot, None)
            elif slot in self._stored:  # changed again meanwhile
                self._stored[slot] = lease

    def adopt(self, rows: Iterable[Lease]) -> list[Lease]:
        """Take over what another server stored; return what routers must be told about it.

        That leaves out what is of no pool of ours. An address whose removal was stored and finished
        since we last looked is told as REMOVING.
        """
        told = []
        for row in rows:
            slot = self.slot_of(row)
            if slot is not None:
                was = self._stored.pop(slot, None) or self.table.get(slot)
                self._replace(slot, row)
                removed = was.bound and row.state in {State.FREE, State.QUARANTINE}
                told.append(dataclasses.replace(row, state=State.REMOVING) if removed else row)
        return told

    def slot_of(self, lease: Lease) -> int | None:
        """The slot of what is lent; None if no pool lends it, or in another way."""
        slot = self.space.slot(*lease.share)
        return slot if slot is not None and self.space.port_set(slot) == lease.port_set else None

    def withdraw(self, share: Share) -> None:
        """Make the draft of `share` void, if there is one."""
        slot = self.space.slot(*share)
        stored = None if slot is None else self._stored.pop(slot, None)
        if slot is not None and stored is not None:
            self._replace(slot, stored)

    def withdraw_broken(self, under_way: Iterable[Lease]) -> list[Share]:
        """After `adopt`: make void the drafts that the rules no longer allow; return them.

        `under_way` are drafts that are being stored; there may be newer ones of their addresses.
        """
        broken = [
            lease.share
            for lease in under_way
            if lease.bound and self._is_elsewhere(self.slot_of(lease), lease.client6)
        ]
        for share in broken:
            self.withdraw(share)
        for slot, stored in list(self._stored.items()):
            draft = self.table.get(slot)
            if not draft.bound:
                continue
            self._replace(slot, stored)
            if self._allows(slot, draft, stored):
                super()._write(slot, draft)
            else:
                del self._stored[slot]
                broken.append(draft.share)
        return broken

    def bindings(self, now: float, tep6: Sequence[IPv6Address]) -> BindingColumns:
        """Everything a router must have at `now`, drafts left aside: what the store says."""
        columns = super().bindings(now, tep6)
        if not self._stored:
            return columns
        grace_s = self.terms.grace_s
        slots = self.space.slots(
            columns.ipv4, PortSets(columns.psid_offset, columns.psid_len, columns.psid)
        )
        drafted = np.isin(slots, list(self._stored))
        bound = [row for row in self._stored.values() if row.bound and row.until + grace_s > now]
        put = changed_bindings(bound, now, grace_s=grace_s, tep6=tep6)
        return concatenate([columns.take(np.flatnonzero(~drafted)), put])

    def _allows(self, slot: int, draft: Lease, stored: Lease) -> bool:
        """Whether `draft` may replace `stored`, which is in the book."""
        if self._is_elsewhere(slot, draft.client6):
            return False
        try:
            self._holdings.check(draft.client6, draft.identity, stored)
        except LeaseError:
            return False
        return True

    def _is_elsewhere(self, slot: int | None, client6: IPv6Address) -> bool:
        other = self.table.slot_of(client6)
        return other is not None and other != slot and self.table.get(other).bound

    def _write(self, slot: int, lease: Lease) -> Lease:
        self._stored.setdefault(slot, self.table.get(slot))
        return super()._write(slot, lease)

    def _replace(self, slot: int, row: Lease) -> None:
        self._account(slot, row)
        self.table.adopt(slot, row)
