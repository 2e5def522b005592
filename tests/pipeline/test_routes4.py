from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.routes4 import Routes4

CAPACITY = 16


def pair() -> tuple[Routes4, Routes4]:
    memory = bytearray(Routes4.size(CAPACITY))
    return Routes4(memory, CAPACITY), Routes4(memory, CAPACITY)


def column(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(values, np.uint32)


def test_zeroed_memory_has_no_routes() -> None:
    _, reader = pair()
    assert len(reader) == 0
    assert reader.lookup(column(0, 1, 0xFFFFFFFF)).tolist() == [0, 0, 0]


def test_reader_sees_each_publication_whole() -> None:
    writer, reader = pair()
    for turn in range(1, 5):
        writer.publish(column(0, 10 * turn), column(turn, turn + 100))
        asked = column(0, 10 * turn - 1, 10 * turn, 0xFFFFFFFF)
        assert reader.lookup(asked).tolist() == [turn, turn, turn + 100, turn + 100]


def test_a_shorter_table_leaves_nothing_of_the_longer_one() -> None:
    writer, reader = pair()
    writer.publish(column(*range(CAPACITY)), column(*range(CAPACITY)))
    writer.publish(column(0), column(3))
    writer.publish(column(0), column(4))
    assert len(reader) == 1
    assert reader.lookup(column(0, 7, 0xFFFFFFFF)).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("starts", "hops"),
    [
        (column(), column()),
        (column(1), column(1)),
        (column(0, 1), column(1)),
        (column(*range(CAPACITY + 1)), column(*range(CAPACITY + 1))),
    ],
    ids=["empty", "not from 0", "lengths differ", "too many"],
)
def test_writers_mistakes_are_caught(
    starts: np.ndarray[tuple[int], np.dtype[np.uint32]],
    hops: np.ndarray[tuple[int], np.dtype[np.uint32]],
) -> None:
    writer, reader = pair()
    writer.publish(column(0), column(9))
    with pytest.raises(AssertionError):
        writer.publish(starts, hops)
    assert reader.lookup(column(5)).tolist() == [9]


@given(
    st.sets(st.integers(1, 0xFFFFFFFF), max_size=CAPACITY - 1),
    st.lists(st.integers(0, 0xFFFFFFFF), max_size=50),
)
def test_look_up_is_the_last_start_not_above(starts: set[int], asked: list[int]) -> None:
    writer, reader = pair()
    ascending = [0, *sorted(starts)]
    writer.publish(column(*ascending), column(*range(len(ascending))))
    expected = [max(i for i, s in enumerate(ascending) if s <= a) for a in asked]
    assert reader.lookup(column(*asked)).tolist() == expected
