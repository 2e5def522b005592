from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import ConfigError
from dstmrouter.io.umem import FramePool, Umem


def test_a_pool_lends_each_chunk_once() -> None:
    pool = FramePool(8, 2048)
    taken = np.concatenate([pool.take(5), pool.take(5)])
    assert sorted(taken.tolist()) == [i * 2048 for i in range(8)]
    assert len(pool) == 0
    assert pool.take(1).tolist() == []


def test_frames_come_back_by_any_address_inside_them() -> None:
    pool = FramePool(4, 4096)
    taken = pool.take(4)
    pool.give(taken + np.array([0, 1, 256, 4095], np.uint64))
    assert sorted(pool.take(4).tolist()) == [0, 4096, 8192, 12288]


def test_what_was_taken_does_not_change_with_the_pool() -> None:
    pool = FramePool(4, 2048)
    first = pool.take(2)
    before = first.tolist()
    pool.give(first[::-1])
    pool.take(4)
    assert first.tolist() == before


def test_more_frames_than_there_are_cannot_come_back() -> None:
    pool = FramePool(2, 2048)
    with pytest.raises(AssertionError, match="more frames given back"):
        pool.give(np.zeros(1, np.uint64))


@given(st.lists(st.integers(-20, 20), max_size=50))
def test_frames_are_conserved(steps: list[int]) -> None:
    pool = FramePool(16, 2048)
    ours: list[int] = []
    for step in steps:
        if step >= 0:
            ours += pool.take(step).tolist()
        else:
            back, ours = ours[:-step], ours[-step:]
            pool.give(np.array(back, np.uint64))
        assert len(pool) + len(ours) == 16
        assert len(set(ours)) == len(ours)


@pytest.mark.parametrize(
    ("frames", "chunk_size", "message"),
    [(4, 1500, r"chunk_size must be one of \(2048, 4096\), not 1500"), (0, 2048, "positive")],
)
def test_memory_the_kernel_would_not_take_is_refused(
    frames: int, chunk_size: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Umem(frames, chunk_size)


def test_close_twice_and_with_a_view_in_use() -> None:
    umem = Umem(4)
    view = umem.octets[:10]
    umem.close()
    umem.close()
    assert view.tolist() == [0] * 10


@pytest.mark.parametrize("frames", [4, 3072])
def test_a_page_lies_behind_the_last_frame(frames: int) -> None:
    umem = Umem(frames)
    assert len(umem.octets) == umem.size == frames * 2048
    assert len(umem.memory) >= umem.size + 4096
    umem.close()
