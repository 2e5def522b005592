from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.copying import copy
from dstmrouter.pipeline.memory import FrameMemory

SLOT = 400


@given(st.lists(st.integers(0, 300), max_size=9), st.booleans())
def test_exactly_so_many_octets_are_copied(lengths: list[int], one_length: bool) -> None:
    if one_length:
        lengths = lengths[:1] * len(lengths)
    n = len(lengths)
    memory = bytearray(np.random.default_rng(1).bytes(2 * SLOT * n + SLOT))
    before = bytes(memory)
    source = np.arange(n, dtype=np.intp) * SLOT
    to = source + n * SLOT + 7
    copy(FrameMemory(memory), to, source, np.array(lengths, np.int64))
    wanted = bytearray(before)
    for number, length in enumerate(lengths):
        start = number * SLOT
        at = start + n * SLOT + 7
        wanted[at : at + length] = before[start : start + length]
    assert memory == wanted
