from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import numpy as np
import pytest

from dstmrouter.binding import OP_REMOVE, BindingColumns, full_address_columns, words6
from dstmrouter.daemon.intake import Intake
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.zmqctl import ApplyResult, BindingUpdate
from lab.netns import PATIENCE_S
from tests.daemon.plans import SIZES

TEP6 = IPv6Address("2001:db8:f::1")
POOL = IPv4Network("203.0.113.0/24")
STEP = 4


class Table:
    """An intake over shared tables; worker 0 is a thread of the test, if it does anything."""

    def __init__(self) -> None:
        self.shared = SharedTables.create(SIZES)
        self.now_s = 100
        bindings = self.shared.tables.bindings
        bindings.lay_out([POOL], None)
        turns = self.shared.turns
        self.writer = BindingWriter(bindings, turns, [TEP6], lambda c: np.zeros(len(c), np.uint32))
        self.intake = Intake(bindings, self.writer, turns, STEP, lambda: self.now_s)

    def bound(self) -> list[int]:
        """Last octets of the bound addresses."""
        rows = self.shared.tables.bindings.rows_of(self.writer.bound_slots())
        return sorted(int(ipv4) & 0xFF for ipv4 in rows["ipv4"])


def columns(*octets: int, lifetime_s: int = 60) -> BindingColumns:
    ipv4 = np.array([int(POOL.network_address) + octet for octet in octets], np.uint32)
    clients = words6([IPv6Address(f"2001:db8::{octet + 1:x}") for octet in octets])
    return full_address_columns(ipv4, clients, lifetime_s=lifetime_s, tep6=[TEP6])


def update(
    *octets: int,
    replace: bool = False,
    first: bool = True,
    last: bool = True,
    source: str = "s",
    server: str = "",
    version: int = 0,
    store: bytes = b"",
) -> BindingUpdate:
    return BindingUpdate(
        source=source,
        replace=replace,
        columns=columns(*octets),
        epoch=b"e",
        generation=1,
        first=first,
        last=last,
        server=server,
        store=store or (b"db" if version else b""),
        version=version,
    )


def removal(*octets: int, version: int, server: str) -> BindingUpdate:
    made = update(*octets, version=version, server=server)
    made.columns.op[:] = OP_REMOVE
    return made


@pytest.fixture
def table() -> Table:
    return Table()


def apply(table: Table, *updates: BindingUpdate) -> list[ApplyResult]:
    async def scenario() -> list[ApplyResult]:
        async with asyncio.timeout(PATIENCE_S):
            return [await table.intake.apply(one) for one in updates]

    return asyncio.run(scenario())


def test_changes_of_several_steps_are_summed_up(table: Table) -> None:
    [result] = apply(table, update(*range(11)))
    assert (result.applied, result.refused, result.rows) == (11, 0, 11)
    assert table.bound() == list(range(11))


def test_refusals_are_summed_up_over_steps(table: Table) -> None:
    changes = columns(*range(9))
    changes.ipv4[[0, 8]] = int(IPv4Address("198.51.100.1")), int(IPv4Address("198.51.100.2"))
    one = BindingUpdate(source="s", replace=False, columns=changes, epoch=b"", generation=1)
    [result] = apply(table, one)
    assert (result.applied, result.refused, result.rows) == (7, 2, 7)
    assert result.reasons == {"address in no pool of this router": 2}


def test_snapshot_in_parts_removes_what_no_part_held(table: Table) -> None:
    results = apply(
        table,
        update(1, 2, 3, 4, 5, 6),
        update(99, source="other"),
        update(1, 7, replace=True, last=False),
        update(2, replace=True, first=False, last=False),
    )
    assert [result.rows for result in results] == [6, 1, 7, 7]
    assert table.bound() == [1, 2, 3, 4, 5, 6, 7, 99]
    [result] = apply(table, update(5, replace=True, first=False))
    assert result.rows == 4
    assert table.bound() == [1, 2, 5, 7, 99]


def test_abandoned_snapshot_removes_nothing(table: Table) -> None:
    apply(table, update(1, 2), update(9, replace=True, last=False))
    apply(table, update(2, replace=True, last=False), update(3, replace=True, first=False))
    assert table.bound() == [2, 3]


def test_empty_snapshot_removes_all_of_the_source(table: Table) -> None:
    apply(table, update(1, 2), update(3, source="other"), update(replace=True))
    assert table.bound() == [3]


def test_a_server_that_lags_brings_back_nothing_that_the_other_removed(table: Table) -> None:
    apply(table, update(1, 2, replace=True, version=5, server="a"))
    apply(table, removal(1, version=7, server="a"), update(1, 3, version=6, server="b"))
    assert table.bound() == [2, 3]
    apply(table, update(1, 2, 3, replace=True, version=6, server="b"))
    assert table.bound() == [2, 3]
    apply(table, removal(1, version=7, server="b"), update(1, version=8, server="b"))
    assert table.bound() == [1, 2, 3]


def test_an_old_snapshot_removes_nothing_that_was_put_since(table: Table) -> None:
    apply(table, update(1, replace=True, version=5, server="a"), update(2, version=9, server="a"))
    [result] = apply(table, update(1, replace=True, version=8, server="b"))
    assert (result.applied, result.refused, result.rows) == (1, 0, 2)
    [result] = apply(table, update(replace=True, version=4, server="b"))
    assert table.bound() == [1, 2]
    apply(table, update(replace=True, version=10, server="b"))
    assert table.bound() == []


def test_snapshots_of_two_servers_at_the_same_time_do_not_mix(table: Table) -> None:
    apply(table, update(9, replace=True, version=1, server="a"))
    apply(
        table,
        update(1, 2, replace=True, last=False, version=5, server="a"),
        update(1, 2, 3, replace=True, version=5, server="b"),
        update(3, replace=True, first=False, version=5, server="a"),
    )
    assert table.bound() == [1, 2, 3]


def test_versions_of_a_store_that_was_made_anew_count_from_its_start(table: Table) -> None:
    apply(table, update(1, 2, replace=True, version=5000, server="a"))
    apply(table, update(2, replace=True, version=3, server="a", store=b"new"))
    assert table.bound() == [2]


def shared(*psids: int, **how: Any) -> BindingUpdate:
    """Port sets of address 7, its ports divided in four."""
    made = update(*[7] * len(psids), **how)
    made.columns.psid_len[:] = 2
    made.columns.psid[:] = psids
    made.columns.client6[:, 1] += np.array(psids, np.uint64)
    return made


def sets(table: Table) -> list[int]:
    """PSIDs that are bound of address 7."""
    slots = table.writer.bound_slots()
    bindings = table.shared.tables.bindings
    mine = bindings.rows_of(slots)["psid_len"] > 0
    return sorted(bindings.psids(slots[mine]).tolist())


def test_port_sets_come_and_go_each_by_itself(table: Table) -> None:
    [_, result] = apply(table, update(1), shared(0, 1, 3))
    assert (result.applied, result.refused, result.rows) == (3, 0, 4)
    removed = shared(1)
    removed.columns.op[:] = OP_REMOVE
    apply(table, removed)
    assert (table.bound(), sets(table)) == ([1, 7, 7], [0, 3])


def test_a_snapshot_keeps_the_port_sets_it_mentions(table: Table) -> None:
    apply(table, shared(0, 1, 2, 3), update(1))
    apply(
        table,
        shared(1, replace=True, last=False),
        update(1, replace=True, first=False, last=False),
        shared(3, replace=True, first=False),
    )
    assert (table.bound(), sets(table)) == ([1, 7, 7], [1, 3])


def test_a_snapshot_tells_how_an_address_is_divided_now(table: Table) -> None:
    apply(table, shared(0, 1))
    apply(table, update(7, replace=True))
    assert (table.bound(), sets(table)) == ([7], [])
    apply(table, shared(2, replace=True))
    assert (table.bound(), sets(table)) == ([7], [2])
    [refused] = apply(table, update(7, version=0))
    assert refused.reasons == {"address is divided into other port sets": 1}


def test_a_server_that_lags_says_nothing_of_other_port_sets(table: Table) -> None:
    apply(table, shared(0, 1, replace=True, version=5, server="a"))
    newer = shared(1, version=9, server="a")
    newer.columns.op[:] = OP_REMOVE
    apply(table, newer, shared(1, 2, version=8, server="b"))
    assert sets(table) == [0, 2]
    apply(table, shared(0, 1, replace=True, version=7, server="b"))
    assert sets(table) == [0, 2], "2 is newer, and 1 is gone since"


def test_acknowledged_only_when_every_worker_has_passed(table: Table) -> None:
    turns = table.shared.turns

    async def scenario() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await table.intake.apply(update(1))
            turns.begin(0)
            turns.begin(1)
            removal = update(1)
            removal.columns.op[:] = OP_REMOVE
            task = asyncio.create_task(table.intake.apply(removal))
            while table.bound():
                await asyncio.sleep(0)  # published at once, but not acknowledged
            turns.end(0)
            for _ in range(10):
                await asyncio.sleep(0.001)
            assert not task.done()
            turns.end(1)
            assert (await task).applied == 1

    asyncio.run(scenario())


def test_bindings_end_by_themselves(table: Table) -> None:
    async def scenario() -> None:
        await table.intake.apply(update(1, 2))
        table.now_s += 30
        await table.intake.apply(update(2))  # renewed
        table.now_s += 29
        assert await table.intake.expire() == 0
        table.now_s += 1
        assert await table.intake.expire() == 1
        assert table.bound() == [2]

    asyncio.run(scenario())
