from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.set_blocks import MAX_ORDER, SetBlocks

FIRST = 1000


@pytest.mark.parametrize("size", [0, 1, 3, 64, 1000, (1 << MAX_ORDER) * 3 + 5])
def test_all_slots_can_be_given(size: int) -> None:
    blocks = SetBlocks(FIRST, size)
    assert blocks.free_slots == size
    slots = [blocks.take(0) for _ in range(size)] if size < 2000 else []
    assert sorted(slot for slot in slots if slot is not None) == (
        list(range(FIRST, FIRST + size)) if slots else []
    )
    assert blocks.free_slots == (0 if slots else size)


def test_a_block_that_is_too_large_is_refused_and_takes_nothing() -> None:
    blocks = SetBlocks(FIRST, 8)
    assert blocks.take(4) is None
    assert blocks.take(3) == FIRST
    assert blocks.take(0) is None
    blocks.give_back(FIRST, 3)
    assert blocks.take(3) == FIRST


def test_halves_become_one_again() -> None:
    blocks = SetBlocks(FIRST, 16)
    taken = [blocks.take(1) for _ in range(8)]
    assert blocks.take(0) is None
    for slot in taken:
        assert slot is not None
        blocks.give_back(slot, 1)
    assert blocks.take(4) == FIRST


@given(
    size=st.integers(0, 200),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=60),
)
def test_blocks_never_overlap_and_none_is_lost(size: int, steps: list[tuple[bool, int]]) -> None:
    blocks = SetBlocks(FIRST, size)
    held: list[tuple[int, int]] = []
    for take, number in steps:
        if take:
            slot = blocks.take(number)
            if slot is not None:
                assert (slot - FIRST) % (1 << number) == 0
                held.append((slot, number))
        elif held:
            blocks.give_back(*held.pop(number % len(held)))
        covered = [n for slot, order in held for n in range(slot, slot + (1 << order))]
        assert len(set(covered)) == len(covered)
        assert all(FIRST <= n < FIRST + size for n in covered)
        assert blocks.free_slots + len(covered) == size
