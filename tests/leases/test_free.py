from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.leases.free import FreeSlots

BOUNDS = (range(4), range(4, 6))
SLOTS = 6


def pool_of(slot: int) -> int:
    return 0 if slot < 4 else 1


@given(st.lists(st.integers(0, SLOTS - 1), max_size=60))
def test_oldest_is_as_a_list_per_pool_says(toggled: list[int]) -> None:
    free = FreeSlots(BOUNDS)
    lists: list[list[int]] = [[], []]
    for slot in toggled:
        pool = pool_of(slot)
        if slot in lists[pool]:
            lists[pool].remove(slot)
            free.take(slot, pool)
        else:
            lists[pool].append(slot)
            free.give(slot, pool)
        assert [slot in free for slot in range(SLOTS)] == [
            slot in lists[pool_of(slot)] for slot in range(SLOTS)
        ]
        assert [free.count(0), free.count(1)] == [len(each) for each in lists]
        assert [free.oldest(0), free.oldest(1)] == [each[0] if each else None for each in lists]
        assert free.first(range(1, 4)) == min((s for s in lists[0] if s), default=None)


@given(st.permutations(range(4)), st.integers(0, 4))
def test_given_together_come_out_in_order(order: list[int], earlier: int) -> None:
    free = FreeSlots(BOUNDS)
    for slot in order[:earlier]:
        free.give(slot, 0)
    free.give_all(np.array(order[earlier:], np.int64), 0)
    found = []
    while (oldest := free.oldest(0)) is not None:
        found.append(oldest)
        free.take(oldest, 0)
    assert found == order
    assert free.oldest(1) is None


def test_clear_takes_all() -> None:
    free = FreeSlots(BOUNDS)
    free.give_all(np.array([2, 0]), 0)
    assert free.count(0) == 2
    free.clear()
    assert (free.count(0), free.oldest(0), 2 in free) == (0, None, False)


def test_taking_twice_and_giving_twice_are_our_mistakes() -> None:
    free = FreeSlots(BOUNDS)
    free.give(2, 0)
    with pytest.raises(AssertionError, match="slot 2 is free already"):
        free.give(2, 0)
    free.take(2, 0)
    with pytest.raises(AssertionError, match="slot 2 is not free"):
        free.take(2, 0)


@given(st.lists(st.integers(0, SLOTS - 1), max_size=60), st.integers(0, 2))
def test_stripes_are_lists_of_their_own_and_the_own_one_is_first(
    toggled: list[int], own: int
) -> None:
    free = FreeSlots(BOUNDS, stripes=3, own=own)
    lists: dict[tuple[int, int], list[int]] = {(p, s): [] for p in range(2) for s in range(3)}
    free.give_all(np.arange(2), 0)
    for slot in (0, 1):
        lists[0, slot].append(slot)
    for slot in toggled:
        chain = lists[pool_of(slot), slot % 3]
        if slot in chain:
            chain.remove(slot)
            free.take(slot, pool_of(slot))
        else:
            chain.append(slot)
            free.give(slot, pool_of(slot))
        for pool in range(2):
            chains = [lists[pool, (own + step) % 3] for step in range(3)]
            assert free.count(pool) == sum(map(len, chains))
            assert free.oldest(pool) == next((chain[0] for chain in chains if chain), None)
