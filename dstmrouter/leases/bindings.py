"""Leases as the routers need them: columns of bindings, for changes and for snapshots.

A binding lives on the wire for the rest of its lease and the grace, so that client, server and
router forget it in this order even when no message comes through.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import (
    OP_PUT,
    OP_REMOVE,
    BindingColumns,
    full_address_columns,
    words6,
)
from dstmrouter.leases.state import BOUND, State
from dstmrouter.leases.times import binding_lifetimes_s

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv6Address

    from dstmrouter.leases.lease import Lease
    from dstmrouter.leases.table import LeaseTable

UNBINDING: Final = frozenset({State.REMOVING, State.HELD})
"""Entering one of these states takes the binding off the routers."""


def changed_bindings(
    leases: Sequence[Lease], now: float, *, grace_s: float, tep6: Sequence[IPv6Address]
) -> BindingColumns:
    """What routers must do about changed leases; of several changes of a share, the last."""
    last = {lease.share: lease for lease in leases if lease.state in BOUND | UNBINDING}
    told = list(last.values())
    until = np.array([lease.until for lease in told], np.float64)
    columns = full_address_columns(
        np.array([int(lease.ipv4) for lease in told], np.uint32),
        words6([lease.client6 for lease in told]),
        lifetime_s=binding_lifetimes_s(until, now, grace_s),
        tep6=tep6,
    )
    for row, lease in enumerate(told):
        if lease.port_set is not None:
            columns.psid_offset[row] = lease.port_set.psid_offset
            columns.psid_len[row] = lease.port_set.psid_len
            columns.psid[row] = lease.port_set.psid
    columns.op[:] = [OP_PUT if lease.bound else OP_REMOVE for lease in told]
    return columns


def all_bindings(
    table: LeaseTable, now: float, *, grace_s: float, tep6: Sequence[IPv6Address]
) -> BindingColumns:
    """Everything a router must have: leases and offers whose binding has time left."""
    slots = table.in_states(BOUND)
    slots = slots[table.until[slots] + grace_s > now]
    columns = full_address_columns(
        table.space.ipv4[slots],
        table.client6[slots],
        lifetime_s=binding_lifetimes_s(table.until[slots], now, grace_s),
        tep6=tep6,
    )
    if not table.space.shared:
        return columns
    return dataclasses.replace(columns, **table.space.port_sets(slots)._asdict())
