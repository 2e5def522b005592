from __future__ import annotations

import mmap
from ipaddress import IPv4Network

import numpy as np

from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable, RowKind
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.spare import Spare

ROWS, SET_SLOTS = 5, 16


class Setup:
    def __init__(self) -> None:
        sizes = 2, FIXED_ROWS + ROWS, SET_SLOTS
        self.table = BindingTable(mmap.mmap(-1, sum(BindingTable.sizes(*sizes))), *sizes)
        self.table.lay_out([IPv4Network("203.0.113.0/24")], None)
        self.turns = Turns(bytearray(Turns.size(1)), 1)
        self.spare = Spare(self.table, self.turns)


def test_rows_are_given_from_the_first_on_and_never_a_fixed_one() -> None:
    spare = Setup().spare
    assert spare.take_rows(2).tolist() == [FIXED_ROWS + 1, FIXED_ROWS]
    assert sorted(spare.take_rows(9)) == [FIXED_ROWS + n for n in (2, 3, 4)]
    assert spare.take_rows(1).tolist() == []


def test_a_block_is_unbound_whatever_was_there() -> None:
    setup = Setup()
    setup.table.slots[setup.table.first_set_slot :] = 7
    base = setup.spare.take_block(3)
    assert base is not None
    assert (setup.table.slots[base : base + 8] == RowKind.UNBOUND).all()
    assert setup.spare.free_set_slots == SET_SLOTS - 8


def test_what_a_worker_may_hold_rests_until_it_has_passed() -> None:
    setup = Setup()
    rows, base = setup.spare.take_rows(ROWS), setup.spare.take_block(4)
    assert base is not None
    setup.turns.begin(0)
    setup.spare.retire(rows[:2], [])
    setup.spare.retire(np.append(rows[2:], np.uint32(RowKind.UNBOUND)), [(base, 4)])
    assert setup.spare.reclaim() == ROWS
    assert len(setup.spare.free_rows) == setup.spare.free_set_slots == 0
    setup.turns.end(0)
    assert setup.spare.reclaim() == 0
    assert sorted(setup.spare.free_rows) == sorted(rows)
    assert setup.spare.take_block(4) == base


def test_what_was_never_published_is_free_at_once() -> None:
    setup = Setup()
    setup.turns.begin(0)
    rows, base = setup.spare.take_rows(ROWS), setup.spare.take_block(2)
    assert base is not None
    setup.spare.give_back(rows)
    setup.spare.give_back_block((base, 2))
    assert (len(setup.spare.free_rows), setup.spare.free_set_slots) == (ROWS, SET_SLOTS)
    setup.spare.retire(np.array([RowKind.UNBOUND], np.uint32), [])
    assert setup.spare.reclaim() == 0
