"""Addresses that a new configuration shares in another way than what is still lent of them.

Port sets of two ways of sharing overlap, and so do a port set and the whole address. So all of such
an address rests, until no router can have what was lent before, and its quarantine is over.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import address6
from dstmrouter.leases.lease import Lease
from dstmrouter.leases.state import BOUND, State
from dstmrouter.leases.times import routers_until
from dstmrouter.protocols.granted import PortSet

if TYPE_CHECKING:
    from dstmrouter.leases.table import LeaseColumns, LeaseTable

STRICTNESS: Final = (State.FREE, State.QUARANTINE, State.REMOVING, State.HELD)
"""Of several states that overlap, the last counts."""
NOBODY: Final = IPv6Address("::")  # no client asks from there, so nobody may have it back early


def recut_leases(table: LeaseTable, stored: LeaseColumns, grace_s: float) -> list[Lease]:
    """Let addresses rest of which `stored` has other shares than `table` lends.

    Returns what must be stored: the former leases as ended, and then what rests. Costs a step for
    each former lease, once after such a change of the configuration.
    """
    foreign = table.space.slots(stored.ipv4, stored.port_sets) < 0
    (rows,) = np.nonzero(foreign & (stored.state != State.FREE))
    former: list[Lease] = []
    resting: dict[int, Lease] = {}
    for lease in (_stored_lease(stored, row) for row in rows.tolist()):
        slots = table.space.slots_of(lease.ipv4)
        if slots:
            former.append(dataclasses.replace(lease, state=State.FREE))
        for slot in slots:
            rest = _at_rest(lease, table.get(slot), grace_s)
            table.put(slot, rest)
            resting[slot] = rest
    return former + list(resting.values())


def _at_rest(lease: Lease, present: Lease, grace_s: float) -> Lease:
    """The row of a slot that overlaps `lease`, and perhaps others."""
    rests = [
        (State.REMOVING, routers_until(each.until, grace_s))
        if each.state in BOUND
        else (each.state, each.until)
        for each in (lease, present)
    ]
    state = max((state for state, _ in rests), key=STRICTNESS.index)
    until = max(until for kind, until in rests if kind is state)
    return dataclasses.replace(
        present,
        lease_id=lease.lease_id,
        client6=NOBODY,
        identity="",
        state=state,
        until=until,
    )


def _stored_lease(stored: LeaseColumns, row: int) -> Lease:
    offset, length, psid = (int(column[row]) for column in stored.port_sets)
    return Lease(
        lease_id=int(stored.lease_id[row]),
        ipv4=IPv4Address(int(stored.ipv4[row])),
        client6=address6(stored.client6[row]),
        identity=stored.identity[row],
        state=State(int(stored.state[row])),
        until=float(stored.until[row]),
        port_set=PortSet(psid_offset=offset, psid_len=length, psid=psid) if length else None,
    )
