from __future__ import annotations

import mmap
from ipaddress import IPv4Address, IPv4Network

import numpy as np
import pytest

from dstmrouter.pipeline.bindings import (
    BLOCK,
    FIXED_ROWS,
    FOREVER,
    ROW,
    BindingTable,
    RowKind,
    covered_blocks,
    over,
)

POOLS = [IPv4Network("203.0.113.64/27"), IPv4Network("198.51.100.0/23")]
TEP4 = int(IPv4Address("203.0.113.70"))


def column(*addresses: str) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array([int(IPv4Address(address)) for address in addresses], np.uint32)


def table(tep4: int | None = TEP4, rows: int = 8) -> BindingTable:
    blocks = len(covered_blocks(POOLS, tep4)) + 1
    made = BindingTable(mmap.mmap(-1, sum(BindingTable.sizes(blocks, rows))), blocks, rows)
    made.lay_out(POOLS, tep4)
    return made


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("203.0.113.63", RowKind.NOT_POOL),  # in a /24 of ours, but in no pool
        ("203.0.113.64", RowKind.UNBOUND),
        ("203.0.113.70", RowKind.LOCAL),
        ("203.0.113.95", RowKind.UNBOUND),
        ("203.0.113.96", RowKind.NOT_POOL),
        ("198.51.99.255", RowKind.NOT_POOL),
        ("198.51.100.0", RowKind.UNBOUND),
        ("198.51.101.255", RowKind.UNBOUND),
        ("198.51.102.0", RowKind.NOT_POOL),
        ("0.0.0.0", RowKind.NOT_POOL),
        ("255.255.255.255", RowKind.NOT_POOL),
    ],
)
def test_every_address_has_a_row(address: str, kind: RowKind) -> None:
    row = table().look_up(column(address))
    assert row["kind"].tolist() == [kind]
    assert row["expires"].tolist() == [0]


def test_tep4_may_be_in_no_pool() -> None:
    made = table(int(IPv4Address("192.0.2.1")))
    found = made.look_up(column("192.0.2.1", "192.0.2.2", "203.0.113.70"))["kind"].tolist()
    assert found == [RowKind.LOCAL, RowKind.NOT_POOL, RowKind.UNBOUND]


def test_outside_means_that_no_block_of_ours_is_touched() -> None:
    made = table()
    assert made.outside(column("8.8.8.8", "203.0.114.1"))
    assert not made.outside(column("8.8.8.8", "203.0.113.1"))
    assert made.outside(column())


def test_addresses_outside_share_slots_that_are_nobodys() -> None:
    slots = table().slot_of(column("8.8.8.8", "9.9.9.8", "203.0.113.8"))
    assert slots[0] == slots[1] < BLOCK
    assert slots[2] >= BLOCK


def test_a_published_row_is_seen_through_every_view_of_the_memory() -> None:
    blocks, rows = len(covered_blocks(POOLS, None)) + 1, FIXED_ROWS + 1
    memory = mmap.mmap(-1, sum(BindingTable.sizes(blocks, rows)))
    writer, reader = BindingTable(memory, blocks, rows), BindingTable(memory, blocks, rows)
    writer.lay_out(POOLS, None)
    wanted = column("203.0.113.65")
    writer.rows["client6"][FIXED_ROWS] = 1, 2
    writer.rows["kind"][FIXED_ROWS] = RowKind.BOUND
    writer.slots[writer.slot_of(wanted)] = FIXED_ROWS
    assert reader.look_up(wanted)["client6"].tolist() == [[1, 2]]
    slots = reader.slot_of(column("203.0.113.66", "203.0.113.65"))
    assert reader.rows_of(slots)["kind"].tolist() == [RowKind.UNBOUND, RowKind.BOUND]


def test_looking_up_copies() -> None:
    made = table()
    row = made.look_up(column("203.0.113.64"))
    row["kind"] = RowKind.BOUND
    assert made.look_up(column("203.0.113.64"))["kind"].tolist() == [RowKind.UNBOUND]


def test_blocks_are_those_that_pools_and_tep4_touch() -> None:
    assert covered_blocks(POOLS, int(IPv4Address("192.0.2.1"))) == [
        0xC00002,
        0xC63364,
        0xC63365,
        0xCB0071,
    ]
    assert covered_blocks(POOLS, TEP4) == [0xC63364, 0xC63365, 0xCB0071]
    assert covered_blocks([], None) == []


def test_rows_are_over_from_the_second_on_that_they_expire() -> None:
    rows = np.zeros(3, ROW)
    rows["expires"] = [0, 7, FOREVER]
    assert [over(rows, now_s).tolist() for now_s in (0, 6, 7, FOREVER - 1)] == [
        [True, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, False],
    ]
