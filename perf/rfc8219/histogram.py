"""Delays as a histogram: buckets grow with the value, so few hold microseconds and seconds.

Values below 256 have a bucket each; above, every power of two is cut into 128 buckets, so a bucket
is at most 1/128 of its value wide. The XDP program of the receiver computes the same index.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

SUB_BITS: Final = 7
VALUE_BITS: Final = 32  # larger values count as the largest: 4.3 s in nanoseconds
BUCKETS: Final = (VALUE_BITS - SUB_BITS - 1 << SUB_BITS) + (2 << SUB_BITS)

Counts = npt.NDArray[np.uint64]


def lower_edges() -> npt.NDArray[np.int64]:
    """The smallest value of every bucket, and the end of the last: BUCKETS + 1."""
    index = np.arange(BUCKETS + 1, dtype=np.int64)
    shift = np.maximum((index >> SUB_BITS) - 1, 0)
    edges: npt.NDArray[np.int64] = (index - (shift << SUB_BITS)) << shift
    return edges


EDGES: Final = lower_edges()
MIDDLES: Final = (EDGES[:-1] + EDGES[1:] - 1) / 2


@dataclasses.dataclass(frozen=True, slots=True)
class Delays:
    """One-way delays of a stream, nanoseconds; `by_sequence` holds 0 where nothing arrived.

    `counts` has all frames, `by_sequence` only the first of the stream.
    """

    counts: Counts
    least: int
    most: int
    total: int
    by_sequence: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean of all frames; NaN without any."""
        return self.total / len(self) if len(self) else math.nan

    def percentile(self, percent: float) -> float:
        """The delay that `percent` of the frames do not exceed (nearest rank); NaN without any.

        Exact to half the width of a bucket, 0.4 %; 0 and 100 are exact.
        """
        if len(self) == 0:
            return math.nan
        if percent <= 0 or percent >= 100:
            return float(self.least if percent <= 0 else self.most)
        rank = math.ceil(percent / 100 * len(self))
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(np.clip(MIDDLES[bucket], self.least, self.most))

    def variations(self) -> npt.NDArray[np.int64]:
        """Inter-packet delay variation of neighbours that both arrived (RFC 5481 section 3.1)."""
        delays = self.by_sequence.astype(np.int64)
        both = (delays[1:] != 0) & (delays[:-1] != 0)
        differences: npt.NDArray[np.int64] = (delays[1:] - delays[:-1])[both]
        return differences


def together(delays: Sequence[Delays]) -> Delays:
    """Those of some streams as if they were one; `by_sequence` is the first one's."""
    first = delays[0]
    return Delays(
        counts=np.sum([each.counts for each in delays], axis=0, dtype=np.uint64),
        least=min((each.least for each in delays if len(each)), default=first.least),
        most=max(each.most for each in delays),
        total=sum(each.total for each in delays),
        by_sequence=first.by_sequence,
    )
