from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.daemon.compiled.waiting import BUSY, ENOUGH, PATIENCE, Waiting

BURST = 512


def frames(first: int, n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array([np.arange(first, first + n), np.full(n, 60)])


def test_nothing_waits_where_there_is_time() -> None:
    waiting = Waiting(BURST)
    assert waiting.add(frames(0, 3), BUSY - 1) == 3
    assert waiting.take().tolist() == frames(0, 3).tolist()
    assert waiting.size == 0
    assert waiting.add(frames(0, 0), BUSY) == 0


@pytest.mark.parametrize(
    ("left", "received"),
    [(0, BUSY - 1), (ENOUGH - 2, BUSY), (1, PATIENCE - BUSY)],
    ids=["a quiet turn", "enough of them", "many packets since"],
)
def test_what_waits_is_taken_after(left: int, received: int) -> None:
    waiting = Waiting(BURST)
    assert waiting.add(frames(0, 2), BUSY) == 0
    assert waiting.size == 2
    assert waiting.add(frames(2, left), received) == 2 + left
    assert waiting.take().tolist() == frames(0, 2 + left).tolist()


def test_patience_begins_anew() -> None:
    waiting = Waiting(BURST)
    for _ in range(3):
        for _ in range(PATIENCE // BUSY - 1):
            assert waiting.add(frames(0, 1), BUSY) == 0
        assert waiting.add(frames(0, 1), BUSY) == PATIENCE // BUSY
        waiting.take()


@given(turns=st.lists(st.tuples(st.integers(0, BURST), st.integers(0, BURST)), max_size=50))
def test_nothing_is_lost_and_the_order_stays(turns: list[tuple[int, int]]) -> None:
    waiting, added, taken = Waiting(BURST), 0, list[int]()
    for left, more in turns:
        due = waiting.add(frames(added, left), left + more)
        added += left
        assert due in {0, waiting.size}
        assert len(taken) + waiting.size == added
        if due:
            taken += waiting.take()[0].tolist()
        else:
            assert waiting.size < ENOUGH
    assert taken + waiting.take()[0].tolist() == list(range(added))
