from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.io.packetcopy import PacketCopy

CHUNK = 2048
LONGEST = 1788


@given(
    st.lists(st.integers(0, LONGEST), max_size=20),
    st.integers(0, 3000),
)
def test_equals_a_loop_of_slices(lens: list[int], first: int) -> None:
    source = bytearray(np.random.default_rng(len(lens)).bytes(sum(lens) + first))
    target = bytearray(CHUNK * 20)
    starts = first + np.cumsum([0, *lens])[:-1]  # the last ends where the source ends
    chunks = np.random.default_rng(first).permutation(20)[: len(lens)] * CHUNK + 256
    PacketCopy(source, target, LONGEST).copy(starts, chunks, np.array(lens, np.uint32))
    for start, to, n in zip(starts.tolist(), chunks.tolist(), lens, strict=True):
        assert target[to : to + n] == source[start : start + n]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 513, 1024, 1025, LONGEST])
def test_nothing_is_written_outside_the_room_of_a_packet(size: int) -> None:
    source = bytearray(b"\xff" * 4096)
    target = bytearray(3 * CHUNK)
    PacketCopy(source, target, LONGEST).copy(
        np.array([0]), np.array([CHUNK + 256]), np.array([size], np.uint32)
    )
    assert not any(target[: CHUNK + 256])
    assert not any(target[CHUNK + 256 + LONGEST :])
    assert target[CHUNK + 256 : CHUNK + 256 + size] == source[:size]


def test_a_small_source_and_small_packets() -> None:
    source, target = bytearray(b"abcdef"), bytearray(512)
    copy = PacketCopy(source, target, 300)
    copy.copy(np.array([0, 3]), np.array([0, 200]), np.array([3, 3], np.uint32))
    assert bytes(target[:3] + target[200:203]) == b"abcdef"


def test_close_lets_both_memories_go() -> None:
    source, target = bytearray(4096), bytearray(4096)
    copy = PacketCopy(source, target, LONGEST)
    copy.close()
    copy.close()
    source.clear()  # BufferError while there are views
    target.clear()
