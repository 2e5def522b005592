"""Leases as columns over slots, with an index by client.

The one place where leases are kept in memory: the book decides, the table remembers. The columns
are also the image from which a snapshot for the routers is cut, so a million leases need no loop.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import Words6, address6
from dstmrouter.leases.lease import Lease
from dstmrouter.leases.state import BOUND, TIMED, State

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from dstmrouter.leases.pool import AddressSpace, PortSets, Slots

OCTETS6: Final = 16
AT_HAND: Final = 4_096
"""Rows that are kept as objects, too, 2 MB: a request looks at its row some ten times."""


def states_column(states: frozenset[State]) -> npt.NDArray[np.bool_]:
    """A truth table, shape (states,): index it with a state column."""
    return np.array([state in states for state in State])


IS_BOUND: Final = states_column(BOUND)
IS_TIMED: Final = states_column(TIMED)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeaseColumns:
    """Stored leases as columns of one length n, in ascending order of `ipv4` and PSID."""

    ipv4: npt.NDArray[np.uint32]  # (n,) native byte order
    client6: Words6  # (n, 2)
    state: npt.NDArray[np.uint8]  # (n,) State
    lease_id: npt.NDArray[np.int64]  # (n,)
    until: npt.NDArray[np.float64]  # (n,) monotonic seconds
    identity: tuple[str, ...]  # n
    port_sets: PortSets

    def __len__(self) -> int:
        return len(self.ipv4)


class LeaseTable:
    """One row per slot of `space`; a slot that was never lent is FREE with lease_id 0."""

    def __init__(self, space: AddressSpace) -> None:
        n = space.capacity
        self.space = space
        self.state: npt.NDArray[np.uint8] = np.zeros(n, np.uint8)
        self.client6: Words6 = np.zeros((n, 2), "<u8")
        self.lease_id: npt.NDArray[np.int64] = np.zeros(n, np.int64)
        self.until: npt.NDArray[np.float64] = np.zeros(n, np.float64)
        self._identity: dict[int, str] = {}  # by slot, where not empty
        self._slot_of: dict[bytes, int] = {}  # the slot a client holds, or held last
        self._slot_of_identity: dict[str, int] = {}  # the slot an identity took last
        self._at_hand: dict[int, Lease] = {}

    def get(self, slot: int) -> Lease:
        """The row of `slot`."""
        row = self._at_hand.get(slot)
        if row is None:
            row = Lease(
                lease_id=int(self.lease_id[slot]),
                ipv4=self.space.address(slot),
                client6=address6(self.client6[slot]),
                identity=self._identity.get(slot, ""),
                state=State(int(self.state[slot])),
                until=float(self.until[slot]),
                port_set=self.space.port_set(slot),
            )
            self._keep_at_hand(slot, row)
        return row

    def is_bound(self, slot: int) -> bool:
        """Whether the slot is lent or offered: a twentieth of the work of `get`."""
        return bool(IS_BOUND[self.state[slot]])

    def identity(self, slot: int) -> str:
        """Who authenticated to get the slot, now or last; empty for nobody."""
        return self._identity.get(slot, "")

    def put(self, slot: int, lease: Lease) -> None:
        """Replace the row of `slot`."""
        octets = lease.client6.packed
        former = self.client6[slot].tobytes()
        if former != octets and self._slot_of.get(former) == slot:
            del self._slot_of[former]  # so the index never outgrows the slots
        former_identity = self._identity.get(slot, "")
        if former_identity != lease.identity and self.slot_of_identity(former_identity) == slot:
            del self._slot_of_identity[former_identity]
        if lease.bound:
            self._slot_of[octets] = slot
            if lease.identity:
                self._slot_of_identity[lease.identity] = slot
        self._keep_at_hand(slot, lease)
        self.client6[slot] = np.frombuffer(octets, "<u8")
        self.lease_id[slot] = lease.lease_id
        self.until[slot] = lease.until
        self.state[slot] = lease.state
        if lease.identity:
            self._identity[slot] = lease.identity
        else:
            self._identity.pop(slot, None)

    def adopt(self, slot: int, lease: Lease) -> None:
        """Replace the row of `slot` by one that came about elsewhere, whatever was between them.

        Unlike `put`, this makes its holder a former one too, unless that has another address now.
        """
        self.put(slot, lease)
        if lease.bound or not lease.lease_id:
            return
        if not self._is_elsewhere(slot, self.slot_of(lease.client6)):
            self._slot_of[lease.client6.packed] = slot
        if lease.identity and not self._is_elsewhere(slot, self.slot_of_identity(lease.identity)):
            self._slot_of_identity[lease.identity] = slot

    def slot_of(self, client6: IPv6Address) -> int | None:
        """The slot that `client6` holds, or else held last and nobody since."""
        return self._slot_of.get(client6.packed)

    def slot_of_identity(self, identity: str) -> int | None:
        """The slot that `identity` took last, unless somebody else has it since."""
        return self._slot_of_identity.get(identity)

    def identities(self, slots: Slots) -> list[str | None]:
        """The identities of `slots`, None for nobody."""
        return list(map(self._identity.get, slots.tolist()))

    def in_states(self, states: frozenset[State]) -> Slots:
        """The slots in one of `states`, ascending."""
        return np.flatnonzero(states_column(states)[self.state])

    def due(self, now: float) -> Slots:
        """Slots whose state has ended by itself at `now`, ascending."""
        return np.flatnonzero((self.until <= now) & IS_TIMED[self.state])

    def next_due(self) -> float | None:
        """When the next state ends by itself, or None."""
        ends = self.until[IS_TIMED[self.state]]
        return float(ends.min()) if len(ends) else None

    def load(self, stored: LeaseColumns) -> Slots:
        """Fill the empty table; return bound slots whose client holds a newer one as well.

        Rows of addresses that no pool has are left out (a pool may have been taken away).
        """
        assert not self._slot_of, "the table is not empty"
        self._at_hand.clear()
        slots = self.space.slots(stored.ipv4, stored.port_sets)
        (rows,) = np.nonzero(slots >= 0)
        slots = slots[rows]
        self.state[slots] = stored.state[rows]
        self.client6[slots] = stored.client6[rows]
        self.lease_id[slots] = stored.lease_id[rows]
        self.until[slots] = stored.until[rows]
        self._identity = {
            slot: stored.identity[row]
            for slot, row in zip(slots.tolist(), rows.tolist(), strict=True)
            if stored.identity[row]
        }
        return self._index(slots)

    def _keep_at_hand(self, slot: int, row: Lease) -> None:
        if len(self._at_hand) >= AT_HAND:
            self._at_hand.clear()
        self._at_hand[slot] = row

    def _is_elsewhere(self, slot: int, other: int | None) -> bool:
        return other is not None and other != slot and bool(IS_BOUND[self.state[other]])

    def _index(self, slots: Slots) -> Slots:
        bound = IS_BOUND[self.state[slots]]
        # Later entries win: a lease in force over a former one, then the newer one.
        slots = slots[np.lexsort((self.lease_id[slots], bound))]
        if self._identity:
            named = zip(self.identities(slots), slots.tolist(), strict=True)
            self._slot_of_identity = {identity: slot for identity, slot in named if identity}
        octets = self.client6[slots].tobytes()
        keys = [octets[at : at + OCTETS6] for at in range(0, len(octets), OCTETS6)]
        self._slot_of = dict(zip(keys, slots.tolist(), strict=True))
        chosen = np.fromiter(map(self._slot_of.__getitem__, keys), np.int64, len(keys))
        superseded: Slots = slots[(chosen != slots) & IS_BOUND[self.state[slots]]]
        return superseded
