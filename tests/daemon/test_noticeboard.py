from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.daemon.noticeboard import Noticeboard

WORKERS = 2


@pytest.fixture
def memory() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.zeros(Noticeboard.size(WORKERS), np.uint8)


def addresses(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(numbers, np.uint32)


def test_notice_is_read_by_another_view(memory: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    worker, supervisor = Noticeboard(memory, WORKERS), Noticeboard(memory, WORKERS)
    assert supervisor.read(1) == {}
    worker.post(1, {"pool": 5, "text": "a longer notice"})
    worker.post(1, {"pool": 6})
    assert supervisor.read(1) == {"pool": 6}
    assert supervisor.read(0) == {}
    supervisor.clear(1)
    assert supervisor.read(1) == {}


def test_half_a_notice_is_not_read(memory: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    board = Noticeboard(memory, WORKERS)
    board.post(0, {"pool": 5})
    board._heads[0, 0] += np.uint64(1)  # a worker killed while it wrote
    assert board.read(0) == {}
    board.post(0, {"pool": 6})  # its successor
    assert board.read(0) == {"pool": 6}


def test_notice_that_does_not_fit_is_our_mistake(
    memory: np.ndarray[tuple[int], np.dtype[np.uint8]],
) -> None:
    with pytest.raises(AssertionError, match="notice of"):
        Noticeboard(memory, WORKERS).post(0, {"text": "x" * 20_000})


def test_gleaned_addresses_are_taken_once(
    memory: np.ndarray[tuple[int], np.dtype[np.uint8]],
) -> None:
    board = Noticeboard(memory, WORKERS)
    board.glean(0, addresses(5, 3))
    board.glean(1, addresses(3, 9))
    assert board.take_gleaned().tolist() == [3, 5, 9]
    assert board.take_gleaned().tolist() == []
    board.glean(0, addresses(5))
    assert board.take_gleaned().tolist() == [5]


@pytest.mark.parametrize("step", [1, 7, 256, 1000])
def test_of_too_many_gleaned_the_newest_are_kept(
    memory: np.ndarray[tuple[int], np.dtype[np.uint8]], step: int
) -> None:
    board = Noticeboard(memory, WORKERS)
    every = np.arange(1000, dtype=np.uint32)
    for first in range(0, 1000, step):
        board.glean(0, every[first : first + step])
    assert board.take_gleaned().tolist() == every[-256:].tolist()
