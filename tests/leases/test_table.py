from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.leases import table as table_module
from dstmrouter.leases.lease import Lease
from dstmrouter.leases.pool import AddressSpace, whole_addresses
from dstmrouter.leases.state import State
from dstmrouter.leases.table import LeaseColumns, LeaseTable
from tests.leases.lending import client, columns, pool

if TYPE_CHECKING:
    import pytest


def table_of(addresses: int) -> LeaseTable:
    return LeaseTable(AddressSpace([pool("192.0.2.0", f"192.0.2.{addresses - 1}")]))


def row(table: LeaseTable, slot: int, owner: int, state: State, lease_id: int = 1) -> Lease:
    return Lease(
        lease_id=lease_id,
        ipv4=table.space.address(slot),
        client6=client(owner),
        identity=f"user{owner}",
        state=state,
        until=10.0 * slot,
    )


def test_what_is_put_is_got() -> None:
    table = table_of(3)
    lease = row(table, 1, 7, State.ACTIVE)
    table.put(1, lease)
    assert table.get(1) == lease
    assert table.get(0).lease_id == 0
    assert table.get(0).state is State.FREE


def test_rows_that_were_looked_at_long_ago_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "AT_HAND", 2)
    table = table_of(6)
    rows = {slot: row(table, slot, slot, State.ACTIVE) for slot in range(6)}
    for slot, lease in rows.items():
        table.put(slot, lease)
        assert len(table._at_hand) <= 2
    assert {slot: table.get(slot) for slot in rows} == rows


def test_index_names_what_a_client_holds_and_forgets_who_lost_it() -> None:
    table = table_of(3)
    table.put(0, row(table, 0, 7, State.ACTIVE))
    table.put(0, row(table, 0, 7, State.FREE))
    assert table.slot_of(client(7)) == 0
    table.put(1, row(table, 1, 7, State.ACTIVE))
    assert table.slot_of(client(7)) == 1
    table.put(1, row(table, 1, 8, State.ACTIVE))
    assert table.slot_of(client(7)) is None
    assert table.slot_of(client(8)) == 1


def test_former_address_does_not_hide_the_one_in_force() -> None:
    table = table_of(3)
    table.put(0, row(table, 0, 7, State.QUARANTINE))
    table.put(1, row(table, 1, 7, State.ACTIVE))
    table.put(0, row(table, 0, 7, State.FREE))
    assert table.slot_of(client(7)) == 1


def test_due_are_timed_states_that_are_over() -> None:
    table = table_of(6)
    for state in State:
        table.put(int(state), row(table, int(state), int(state), state))
    assert table.due(19.0).tolist() == [State.OFFERED]
    assert table.due(1000.0).tolist() == [1, 2, 3, 4]
    assert table.next_due() == 10.0


def test_nothing_timed_has_no_next_due() -> None:
    assert table_of(3).next_due() is None


def test_loading_keeps_rows_and_leaves_out_addresses_of_no_pool() -> None:
    bigger, smaller = table_of(5), table_of(3)
    leases = [row(bigger, slot, slot + 1, State.ACTIVE, slot + 1) for slot in range(1, 5)]
    assert smaller.load(columns(leases)).tolist() == []
    assert [smaller.get(slot) for slot in (1, 2)] == leases[:2]
    assert smaller.slot_of(client(4)) is None


def test_loading_tells_which_leases_of_a_client_a_newer_one_supersedes() -> None:
    table = table_of(5)
    leases = [
        row(table, 0, 7, State.ACTIVE, lease_id=3),
        row(table, 1, 7, State.ACTIVE, lease_id=5),
        row(table, 2, 7, State.FREE, lease_id=9),
    ]
    assert table.load(columns(leases)).tolist() == [0]
    assert table.slot_of(client(7)) == 1


def test_a_million_leases_load() -> None:
    n = 1_000_000
    table = LeaseTable(AddressSpace([pool("10.0.0.0", "10.15.66.63")]))
    assert table.space.capacity == n
    client6 = np.zeros((n, 2), "<u8")
    client6[:, 1] = np.arange(n)
    stored = LeaseColumns(
        ipv4=table.space.ipv4,
        client6=client6,
        state=np.full(n, State.ACTIVE, np.uint8),
        lease_id=np.arange(1, n + 1),
        until=np.zeros(n),
        identity=("",) * n,
        port_sets=whole_addresses(n),
    )
    table.load(stored)
    assert table.slot_of(table.get(n - 1).client6) == n - 1
    assert table.is_bound(n - 1)


def test_an_adopted_row_makes_its_holder_a_former_one() -> None:
    table = table_of(3)
    table.put(0, row(table, 0, 7, State.ACTIVE, lease_id=1))
    table.adopt(0, row(table, 0, 8, State.QUARANTINE, lease_id=2))
    assert (table.slot_of(client(7)), table.slot_of(client(8))) == (None, 0)
    table.adopt(1, row(table, 1, 8, State.ACTIVE, lease_id=3))
    table.adopt(2, row(table, 2, 8, State.REMOVING, lease_id=4))
    assert table.slot_of(client(8)) == 1
    table.adopt(1, row(table, 1, 0, State.FREE, lease_id=0))
    assert table.slot_of(client(8)) is None
