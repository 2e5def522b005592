"""Octets from one place of frame memory to another, for columns of packets.

Exactly as many as said: what lies behind them may be another frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index


def copy(memory: FrameMemory, to: Index, source: Index, length: npt.NDArray[np.int64]) -> None:
    """Copy `length` octets from `source` to `to`, each shape (n,); no two places overlap.

    One gather and one scatter if all lengths are equal, which is usual. Otherwise one for each
    power of two that some length has in it.
    """
    if not len(to):
        return
    first = int(length[0])
    if not np.count_nonzero(length != first):
        if first:
            records = memory.records(first)
            records[to] = records[source]
        return
    done = np.zeros(len(to), np.int64)
    for bit in reversed(range(int(length.max()).bit_length())):
        size = 1 << bit
        rows = np.flatnonzero(length & size)
        if len(rows):
            records = memory.records(size)
            records[to[rows] + done[rows]] = records[source[rows] + done[rows]]
            done[rows] += size
