from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.pipeline.pieces import cut, whole_units
from tests.pipeline.machine import CHUNK, SparePool


def test_pieces_cover_packets_and_have_frames_of_their_own() -> None:
    pool = SparePool(0, 10)
    size, step = np.array([1500, 100, 16, 17]), np.array([1448, 40, 16, 16])
    pieces, served = cut(pool, size, step)
    assert served is None
    assert pieces.of.tolist() == [0, 1, 1, 3]
    assert pieces.start.tolist() == [1448, 40, 80, 16]
    assert pieces.size.tolist() == [52, 40, 20, 1]
    assert len(set((pieces.ip_at // CHUNK).tolist())) == 4
    assert len(pool) == 6


@pytest.mark.parametrize(("frames", "kept"), [(0, []), (1, [0]), (2, [0]), (3, [0, 1]), (4, None)])
def test_without_frames_the_last_packets_go_without(frames: int, kept: list[int] | None) -> None:
    pool = SparePool(0, frames)
    pieces, served = cut(pool, np.array([20, 30, 20]), np.array([16, 10, 16]))
    assert (None if served is None else served.tolist()) == kept
    assert pieces.of.tolist() == [0, 1, 1, 2][: len(pieces.of)]
    assert len(pool) + len(pieces.of) == frames


def test_offsets_count_eight_octets() -> None:
    assert whole_units(np.array([1452, 1448, 8])).tolist() == [1448, 1448, 8]
