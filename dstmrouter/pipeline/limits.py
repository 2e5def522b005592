"""Rate limits of packets that we make because of others' packets: token buckets on columns (R26).

Every kind of packet has a bucket for all destinations together, and shares a bounded number of
buckets for single destination prefixes (RFC 4443 section 2.4f). Which bucket a prefix has is a
keyed hash: prefixes that meet in one share its tokens, which errs on the side of sending less, and
nobody can choose whom to meet.

What is kept of a bucket is when it was, or would have been, empty: the tokens are the time since
then. They come with the ticks of a clock, 16 a second, and not one by one: in a flood of millions
a second every token costs a look at the packets of a burst, so many are spent at a time. (At 1 %
of 25 Mpps, 32 calls of the numpy steps a second took 2 % of the time, 16 take 1.)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Index

KINDS: Final = 256
TICKS: Final = 16  # a second; a power of two, exact in floating point
_TICK_NS: Final = 10**9 // TICKS
_LONG_AGO: Final = -(1 << 60)  # ns; so long that every bucket is full
BUCKETS: Final = 1 << 14  # 128 KiB; a power of two
SHIFT: Final = 64 - 14
_SHIFT: Final = np.uint64(SHIFT)
_KIND_STEP: Final = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Packets a second, and how many at a time after a pause."""

    total: int  # of each kind
    prefix: int
    prefix_burst: int

    @property
    def total_burst(self) -> int:
        """A tenth of a second's worth, at least 10, but no more than a second's."""
        return min(self.total, max(10, self.total // 10))


class _Filling:
    """How a bucket fills: `step` ns for a token, and `most` of them."""

    def __init__(self, rate: int, most: int) -> None:
        self.step = 10**9 // rate
        self.most = most
        self.full = most * self.step  # ns from empty


@dataclasses.dataclass(slots=True)
class Chance:
    """Packets that may be sent as far as their buckets know, n of them."""

    keep: Index  # which of those that were asked for
    kind: int
    buckets: npt.NDArray[np.intp]

    def take(self, positions: Index) -> Chance:
        """Those at `positions`."""
        return Chance(self.keep[positions], self.kind, self.buckets[positions])


@dataclasses.dataclass(slots=True)
class Standing:
    """How things stand for a kind of packet in one tick, for those who ask by themselves.

    No packet is sent while `exhausted`, nor to a prefix whose bucket b, found as by
    `Limiter.chance`, has `now - empty[b] < step`.
    """

    exhausted: bool  # for all destinations
    now: int  # ns on the router's clock
    empty: npt.NDArray[np.int64]  # ns, by bucket; the limiter's own
    step: int  # ns
    key: int
    mix: int  # what is mixed into a prefix for this kind
    host_bits: int = 0  # of a destination, below its prefix


class Limiter:
    """The buckets of one side; `key` is a secret 64-bit number."""

    def __init__(self, rates: Rates, key: int) -> None:
        self._key = np.uint64(key | 1)
        self._total = _Filling(rates.total, rates.total_burst)
        self._prefix = _Filling(rates.prefix, rates.prefix_burst)
        self._total_empty = [_LONG_AGO] * KINDS  # ns
        self._prefix_empty = np.full(BUCKETS, _LONG_AGO, np.int64)
        self._now = 0  # ns; never goes back

    def left(self, kind: int, now_s: float) -> int:
        """How many packets of a kind may be sent now, to all destinations together."""
        since = self._tick(now_s) - self._total_empty[kind]
        return min(since // self._total.step, self._total.most)

    def chance(
        self, kind: int, prefixes: npt.NDArray[np.uint64], now_s: float, most: int
    ) -> Chance:
        """The first `most` of n packets that might be sent; nothing is taken yet.

        `prefixes` are numbers of their destinations, shape (n,).
        """
        mixed = (prefixes ^ np.uint64(_mix(kind))) * self._key
        mixed ^= mixed >> np.uint64(32)
        mixed *= self._key
        buckets = (mixed >> _SHIFT).astype(np.intp)
        since = self._tick(now_s) - self._prefix_empty.take(buckets)
        keep = np.flatnonzero(since >= self._prefix.step)[:most]
        return Chance(keep, kind, buckets[keep])

    def standing(self, kind: int, now_s: float) -> Standing:
        """How things stand for `kind`; good until somebody takes tokens or the tick is over."""
        exhausted = self.left(kind, now_s) <= 0
        buckets = self._prefix_empty, self._prefix.step, int(self._key)
        return Standing(exhausted, self._now, *buckets, _mix(kind))

    def take(self, chance: Chance, now_s: float) -> Index:
        """Take tokens for the packets of `chance`; the positions, ascending, of those that got one.

        A bucket serves its packets from the first.
        """
        order = np.argsort(chance.buckets, kind="stable")
        buckets, first, counts = np.unique(
            chance.buckets[order], return_index=True, return_counts=True
        )
        since = self._tick(now_s) - self._prefix_empty[buckets]
        available = np.minimum(since, self._prefix.full) // self._prefix.step
        rank = np.arange(len(order)) - np.repeat(first, counts)
        granted = np.sort(order[rank < np.repeat(available, counts)])
        granted = granted[: self.left(chance.kind, now_s)]
        used = np.bincount(buckets.searchsorted(chance.buckets[granted]), minlength=len(buckets))
        now, prefix, total = self._now, self._prefix, self._total
        empty = np.maximum(self._prefix_empty[buckets], now - prefix.full)
        self._prefix_empty[buckets] = empty + used * prefix.step
        empty_total = max(self._total_empty[chance.kind], now - total.full)
        self._total_empty[chance.kind] = empty_total + len(granted) * total.step
        return granted

    def _tick(self, now_s: float) -> int:
        """The last tick, ns on the router's clock."""
        self._now = max(self._now, int(now_s * TICKS) * _TICK_NS)
        return self._now


def _mix(kind: int) -> int:
    return kind * _KIND_STEP & 0xFFFFFFFFFFFFFFFF
