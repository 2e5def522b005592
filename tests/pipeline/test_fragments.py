"""What single fragments say; what becomes of them: tests/pipeline/test_reassembly.py."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from dstmrouter.pipeline import fragments
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.rare import Arrivals
from tests.pipeline import worlds
from tests.pipeline.packets import ether, ipv6


@pytest.mark.parametrize("tci", [None, 5])
@pytest.mark.parametrize(("options", "first"), [(b"", 44), (bytes.fromhex("2c00010400000000"), 60)])
def test_fields_are_read_behind_tags_and_options(
    tci: int | None, options: bytes, first: int
) -> None:
    header = struct.pack("!BBHI", 4, 0, 1480 | 1, 0xDEADBEEF)
    frame = ether(ipv6(options + header + bytes(24), next_header=first, traffic_class=2), tci)
    frame += b"padding"
    memory = FrameMemory(bytearray(bytes(100) + frame + bytes(100)))
    one = np.array([100])
    found = fragments.read(memory, Arrivals(np.array([3]), one, np.array([len(frame)]), 0))
    link_len = 14 if tci is None else 18
    assert found.rows.tolist() == [3]
    assert found.link_len.tolist() == [link_len]
    assert found.data_at.tolist() == [100 + link_len + 48 + len(options)]
    assert (found.offset.tolist(), found.size.tolist(), found.end.tolist()) == (
        [1480],
        [24],
        [1504],
    )
    assert (found.more.tolist(), found.ecn.tolist()) == ([True], [2])
    assert (found.follows.tolist(), found.ident.tolist()) == ([4], [0xDEADBEEF])
    assert found.src.tobytes() == worlds.CLIENTS6[1].packed
    assert found.dst.tobytes() == worlds.TEP6.packed
    assert len(found.take(np.array([0, 0]))) == 2
