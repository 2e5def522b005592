"""Rate limits of packets that we make because of others' packets: token buckets on columns (R26).

Every kind of packet has a bucket for all destinations together, and shares a bounded number of
buckets for single destination prefixes (RFC 4443 section 2.4f). Which bucket a prefix has is a
keyed hash: prefixes that meet in one share its tokens, which errs on the side of sending less, and
nobody can choose whom to meet.

The clock has whole seconds, so a bucket gets its tokens once a second, all at a time.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Index

KINDS: Final = 256
BUCKETS: Final = 1 << 14  # 128 KiB; a power of two
_SHIFT: Final = np.uint64(64 - 14)
_KIND_STEP: Final = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Packets a second; a bucket holds a second's worth, or `prefix_burst`."""

    total: int  # of each kind
    prefix: int
    prefix_burst: int


@dataclasses.dataclass(slots=True)
class Chance:
    """Packets that may be sent as far as their buckets know, n of them."""

    keep: Index  # which of those that were asked for
    kind: int
    buckets: npt.NDArray[np.intp]

    def take(self, positions: Index) -> Chance:
        """Those at `positions`."""
        return Chance(self.keep[positions], self.kind, self.buckets[positions])


class Limiter:
    """The buckets of one side; `key` is a secret 64-bit number."""

    def __init__(self, rates: Rates, key: int) -> None:
        self._rates = rates
        self._key = np.uint64(key | 1)
        self._totals = np.full(KINDS, rates.total, np.int64)
        self._total_at = 0  # seconds
        self._tokens = np.full(BUCKETS, rates.prefix_burst, np.int32)
        self._filled_at = np.zeros(BUCKETS, np.uint32)

    def left(self, kind: int, now_s: int) -> int:
        """How many packets of a kind may be sent now, to all destinations together."""
        if now_s > self._total_at:
            more = (now_s - self._total_at) * self._rates.total
            np.minimum(self._totals + more, self._rates.total, out=self._totals)
            self._total_at = now_s
        return int(self._totals[kind])

    def chance(self, kind: int, prefixes: npt.NDArray[np.uint64], now_s: int, most: int) -> Chance:
        """The first `most` of n packets that might be sent; nothing is taken yet.

        `prefixes` are numbers of their destinations, shape (n,).
        """
        mixed = (prefixes ^ np.uint64(kind * _KIND_STEP & 0xFFFFFFFFFFFFFFFF)) * self._key
        mixed ^= mixed >> np.uint64(32)
        mixed *= self._key
        buckets = (mixed >> _SHIFT).astype(np.intp)
        keep = np.flatnonzero(self._available(buckets, now_s))[:most]
        return Chance(keep, kind, buckets[keep])

    def take(self, chance: Chance, now_s: int) -> Index:
        """Take tokens for the packets of `chance`; the positions, ascending, of those that got one.

        A bucket serves its packets from the first.
        """
        order = np.argsort(chance.buckets, kind="stable")
        buckets, first, counts = np.unique(
            chance.buckets[order], return_index=True, return_counts=True
        )
        available = self._available(buckets, now_s)
        rank = np.arange(len(order)) - np.repeat(first, counts)
        granted = np.sort(order[rank < np.repeat(available, counts)])
        granted = granted[: self.left(chance.kind, now_s)]
        used = np.bincount(buckets.searchsorted(chance.buckets[granted]), minlength=len(buckets))
        self._tokens[buckets] = available - used
        self._filled_at[buckets] = now_s
        self._totals[chance.kind] -= len(granted)
        return granted

    def _available(self, buckets: npt.NDArray[np.intp], now_s: int) -> npt.NDArray[np.int64]:
        """Tokens of buckets now, shape (n,)."""
        passed = np.maximum(np.int64(now_s) - self._filled_at.take(buckets), 0)
        tokens = self._tokens.take(buckets) + passed * self._rates.prefix
        available: npt.NDArray[np.int64] = np.minimum(tokens, self._rates.prefix_burst)
        return available
