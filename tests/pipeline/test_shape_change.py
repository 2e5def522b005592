"""Port sets in the binding table: who may divide an address, and what gives way to it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.pipeline import shape_change
from dstmrouter.pipeline.acceptance import Applied
from dstmrouter.pipeline.bindings import RowKind
from tests.pipeline.port_set_changes import WHOLE, Wish, columns, found, gone
from tests.pipeline.test_binding_writer import CLIENTS, POOL, Setup

if TYPE_CHECKING:
    from ipaddress import IPv4Address

A, B = POOL[5], POOL[6]
ONE, TWO, THREE = CLIENTS[:3]
HALVES = (6, 1)


def put(setup: Setup, *wishes: Wish, source: str = "server", displace: bool = False) -> Applied:
    return setup.writer.apply(source, columns(*wishes), 100, displace=displace)


@pytest.fixture
def setup() -> Setup:
    return Setup(32, set_slots=32)


def holders(setup: Setup, *addresses: IPv4Address) -> list[object]:
    return [found(setup, address) for address in addresses]


def test_an_address_is_divided_by_its_first_port_set(setup: Setup) -> None:
    assert put(setup, Wish(A, 3, ONE, (6, 2))) == Applied(1, {})
    row = setup.row(A)
    assert (row["kind"], row["psid_offset"], row["psid_len"]) == (RowKind.SHARED, 6, 2)
    assert row["expires"] == 0, "of itself it binds nothing"
    assert put(setup, Wish(A, 0, TWO, (6, 2)), Wish(B, 1, TWO)) == Applied(2, {})
    assert holders(setup, A, B) == [{3: ONE, 0: TWO}, {1: TWO}]
    assert setup.writer.bound == len(setup.writer.bound_slots()) == 3
    psids = setup.table.psids(setup.writer.bound_slots())
    assert sorted(psids.tolist()) == [0, 1, 3]
    assert setup.table.shared[0] == 2


def test_an_address_is_whole_again_when_the_last_port_set_has_gone(setup: Setup) -> None:
    put(setup, Wish(A, 0, ONE), Wish(A, 1, TWO), Wish(B, 2, TWO))
    setup.writer.apply("server", gone(Wish(A, 1, TWO), Wish(B, 2, TWO)), 100)
    assert holders(setup, A, B) == [{0: ONE}, None]
    assert put(setup, Wish(B, 0, ONE, WHOLE)) == Applied(1, {})
    assert setup.row(B)["kind"] == RowKind.BOUND
    setup.writer.apply("server", gone(Wish(B, 0, ONE, WHOLE)), 100)
    assert put(setup, Wish(B, 1, TWO, HALVES)) == Applied(1, {})
    assert found(setup, B) == {1: TWO}
    setup.writer.reclaim()
    assert setup.writer.spare.free_set_slots == 32 - 4 - 2
    assert setup.table.shared[0] == 2


def test_clients_of_a_port_set_follow_each_other_in_one_step(setup: Setup) -> None:
    put(setup, Wish(A, 1, ONE), Wish(A, 2, TWO))
    base = int(setup.row(A)["base"])
    assert put(setup, Wish(A, 1, THREE)) == Applied(1, {})
    assert (found(setup, A), int(setup.row(A)["base"])) == ({1: THREE, 2: TWO}, base)
    assert setup.writer.bound == 2


def test_a_renewal_keeps_the_row(setup: Setup) -> None:
    put(setup, Wish(A, 1, ONE))
    slot = int(setup.row(A)["base"]) + 1
    row = int(setup.table.slots[slot])
    setup.writer.apply("server", columns(Wish(A, 1, ONE), lifetime=900), 100)
    assert int(setup.table.slots[slot]) == row
    assert setup.table.rows["expires"][row] == 1000
    assert setup.writer.expire(999) == 0
    assert setup.writer.expire(1000) == 1
    assert found(setup, A) is None


def test_r27_all_port_sets_of_an_address_are_divided_alike(setup: Setup) -> None:
    put(setup, Wish(A, 1, ONE))
    for shape in (HALVES, (1, 2), (0, 3), WHOLE):
        other = Wish(A, 0, TWO, shape)
        assert put(setup, other, Wish(B, 1, ONE)) == Applied(1, {shape_change.IS_SHARED: 1})
        assert holders(setup, A, B) == [{1: ONE}, {1: ONE}]
    assert put(setup, Wish(POOL[7], 0, ONE, WHOLE)).applied == 1
    assert put(setup, Wish(POOL[7], 1, TWO)) == Applied(0, {shape_change.IS_WHOLE: 1})
    assert put(setup, Wish(A, 1, TWO)) == Applied(1, {}), "as it is divided"


def test_r27_of_one_set_of_changes_the_last_divides_an_address(setup: Setup) -> None:
    wishes = Wish(A, 0, ONE, HALVES), Wish(A, 1, TWO), Wish(A, 2, THREE)
    assert put(setup, *wishes) == Applied(2, {shape_change.MIXED: 1})
    assert found(setup, A) == {1: TWO, 2: THREE}
    assert put(setup, *reversed([dataclasses.replace(w, address=B) for w in wishes])) == Applied(
        1, {shape_change.MIXED: 2}
    )
    assert found(setup, B) == {0: ONE}


def test_what_has_the_same_name_gives_way(setup: Setup) -> None:
    put(setup, Wish(A, 0, ONE, WHOLE))
    assert put(setup, Wish(A, 0, TWO)) == Applied(1, {})
    assert put(setup, Wish(A, 0, THREE, HALVES)) == Applied(1, {})
    assert put(setup, Wish(A, 0, ONE, WHOLE)) == Applied(1, {})
    assert (found(setup, A), setup.writer.bound) == ({0: ONE}, 1)


def test_in_a_snapshot_all_gives_way_that_its_source_has(setup: Setup) -> None:
    put(setup, Wish(A, 0, ONE), Wish(A, 3, TWO), Wish(B, 0, TWO, WHOLE))
    assert put(setup, Wish(A, 1, ONE, HALVES), Wish(B, 1, THREE), displace=True) == Applied(2, {})
    assert holders(setup, A, B) == [{1: ONE}, {1: THREE}]
    assert setup.writer.bound == 2


def test_nothing_of_another_source_gives_way(setup: Setup) -> None:
    put(setup, Wish(A, 0, ONE), source="other")
    put(setup, Wish(B, 0, ONE, WHOLE), source="other")
    foreign = {shape_change.FOREIGN: 1}
    for wish in (Wish(A, 0, TWO), Wish(A, 0, TWO, WHOLE), Wish(A, 1, TWO, HALVES)):
        assert put(setup, wish, displace=True) == Applied(0, foreign)
    assert put(setup, Wish(B, 1, TWO), displace=True) == Applied(0, foreign)
    refused = setup.writer.apply("server", gone(Wish(A, 0, ONE)), 100)
    assert refused == Applied(0, foreign)
    assert put(setup, Wish(A, 1, TWO)) == Applied(1, {}), "another port set, divided alike"
    assert setup.writer.owned_by("server") == 1
    assert setup.writer.replace("server", np.zeros(0, np.uint32)) == 1
    assert holders(setup, A, B) == [{0: ONE}, {0: ONE}]


def test_removing_what_is_not_bound_is_harmless(setup: Setup) -> None:
    put(setup, Wish(A, 0, ONE))
    for wish in (Wish(A, 1, ONE), Wish(A, 9, ONE, (0, 4)), Wish(B, 1, ONE), Wish(B, 0, ONE)):
        assert setup.writer.apply("server", gone(wish), 100) == Applied(1, {})
    assert holders(setup, A, B) == [{0: ONE}, None]


def test_without_room_nothing_is_left_half_divided() -> None:
    setup = Setup(3, set_slots=4)
    full = {shape_change.NO_ROOM: 1}
    assert put(setup, Wish(A, 4, ONE, (0, 3))) == Applied(0, full)
    assert found(setup, A) is None
    assert put(setup, Wish(A, 0, ONE), Wish(A, 1, TWO)) == Applied(2, {})
    assert put(setup, Wish(B, 0, ONE)) == Applied(0, full)
    assert put(setup, Wish(A, 2, THREE)) == Applied(0, {"table full": 1})
    setup.writer.apply("server", gone(Wish(A, 0, ONE), Wish(A, 1, TWO)), 100)
    assert setup.writer.reclaim() == 0
    assert put(setup, Wish(B, 0, ONE)) == Applied(1, {})


def test_an_address_without_a_row_for_its_first_port_set_stays_undivided() -> None:
    setup = Setup(2, set_slots=8)
    put(setup, Wish(POOL[7], 0, ONE, WHOLE))
    assert put(setup, Wish(A, 0, ONE)) == Applied(0, {"table full": 1})
    assert found(setup, A) is None
    assert setup.table.shared[0] == 0
    assert setup.writer.reclaim() == 0
    assert (len(setup.writer.spare.free_rows), setup.writer.spare.free_set_slots) == (1, 8)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(A, 0, ONE, (9, 8)), "psid_offset + psid_len is more than 16 bits"),
        (Wish(A, 0, ONE, (255, 255)), "psid_offset + psid_len is more than 16 bits"),
        (Wish(A, 4, ONE), "psid has more than psid_len bits"),
        (Wish(A, 1, ONE, WHOLE), "psid has more than psid_len bits"),
    ],
)
def test_r27_what_is_no_port_set(setup: Setup, wish: Wish, reason: str) -> None:
    assert put(setup, wish) == Applied(0, {reason: 1})
    assert put(setup, Wish(A, 0xFFFF, ONE, (0, 16))) == Applied(0, {shape_change.NO_ROOM: 1})


def test_the_room_of_an_address_is_used_again_when_no_worker_can_see_it() -> None:
    setup = Setup(16, set_slots=4)
    put(setup, Wish(A, 0, ONE))
    setup.turns.begin(0)
    stale = setup.row(A).copy()
    setup.writer.apply("server", gone(Wish(A, 0, ONE)), 100)
    assert put(setup, Wish(B, 0, TWO)) == Applied(0, {shape_change.NO_ROOM: 1})
    reached = setup.table.rows_of(np.array([stale["base"]], np.uint32))
    assert reached["kind"][0] == RowKind.UNBOUND
    setup.turns.end(0)
    assert put(setup, Wish(B, 0, TWO)) == Applied(1, {})


def test_next_hops_of_port_sets_are_asked_for_again(setup: Setup) -> None:
    put(setup, Wish(A, 1, ONE))
    setup.hop = 9
    setup.writer.resolve_again()
    assert setup.writer.hops_in_use().tolist() == [9]


def test_whole_addresses_with_an_offset_are_whole(setup: Setup) -> None:
    assert put(setup, Wish(A, 0, ONE, (6, 0)), Wish(A, 0, ONE, (0, 0))) == Applied(2, {})
    assert setup.row(A)["kind"] == RowKind.BOUND
