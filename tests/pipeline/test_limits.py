from __future__ import annotations

import dataclasses
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline import limits
from dstmrouter.pipeline.limits import Limiter, Rates

KEY = 0x0123456789ABCDEF
RATES = Rates(total=12, prefix=2, prefix_burst=5)
TOTAL_BURST = 10
TICK = 1 / limits.TICKS  # exact
PREFIXES = [10, 11, 12, 0xFFFFFFFF, 1 << 63]
KINDS = [33, 34]


@dataclasses.dataclass
class Bucket:
    """One token bucket, as RFC 4443 section 2.4 f means it."""

    rate: int
    most: int
    tokens: Fraction
    at: Fraction = Fraction(0)

    def fill(self, now: float) -> None:
        """Tokens come all the time, but are seen at ticks."""
        tick = Fraction(int(now * limits.TICKS), limits.TICKS)
        self.tokens = min(Fraction(self.most), self.tokens + (tick - self.at) * self.rate)
        self.at = tick


class Scalar:
    """The limits for one packet after the other, with a bucket for each prefix."""

    def __init__(self) -> None:
        self.total = {
            kind: Bucket(RATES.total, TOTAL_BURST, Fraction(TOTAL_BURST)) for kind in KINDS
        }
        self.prefix: dict[tuple[int, int], Bucket] = defaultdict(
            lambda: Bucket(RATES.prefix, RATES.prefix_burst, Fraction(RATES.prefix_burst))
        )

    def granted(self, kind: int, prefixes: list[int], now: float) -> list[int]:
        total, granted = self.total[kind], []
        total.fill(now)
        for number, prefix in enumerate(prefixes):
            bucket = self.prefix[kind, prefix]
            bucket.fill(now)
            if bucket.tokens >= 1 and total.tokens >= 1:
                bucket.tokens -= 1
                total.tokens -= 1
                granted.append(number)
        return granted


def column(prefixes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(prefixes, np.uint64)


def ask(limiter: Limiter, kind: int, prefixes: list[int], now: float, most: int = 999) -> list[int]:
    chance = limiter.chance(kind, column(prefixes), now, most)
    granted: list[int] = chance.keep[limiter.take(chance, now)].tolist()
    return granted


def test_the_prefixes_of_these_tests_do_not_meet() -> None:
    limiter = Limiter(RATES, KEY)
    met = [limiter.chance(kind, column(PREFIXES), 0, 99).buckets.tolist() for kind in KINDS]
    assert len({bucket for buckets in met for bucket in buckets}) == len(PREFIXES) * len(KINDS)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 3), st.integers(0, 3 * limits.TICKS).map(lambda n: n * TICK)),
            st.sampled_from(KINDS),
            st.lists(st.sampled_from(PREFIXES), max_size=30),
        ),
        max_size=12,
    )
)
def test_r26_bursts_get_what_their_packets_would_get_alone(
    work: list[tuple[float, int, list[int]]],
) -> None:
    limiter, scalar, now = Limiter(RATES, KEY), Scalar(), 0.0
    for passed, kind, prefixes in work:
        now += passed
        assert ask(limiter, kind, prefixes, now) == scalar.granted(kind, prefixes, now)


def test_the_total_is_asked_for_before_anything_else() -> None:
    limiter = Limiter(RATES, KEY)
    assert limiter.left(33, 0) == TOTAL_BURST
    assert len(ask(limiter, 33, PREFIXES * 3, 0)) == TOTAL_BURST
    assert limiter.left(33, 0) == 0
    assert limiter.left(34, 0) == TOTAL_BURST
    assert limiter.left(33, 0.5) == 6
    assert limiter.left(33, 1) == TOTAL_BURST


@pytest.mark.parametrize(
    ("total", "burst"), [(1, 1), (9, 9), (15, 10), (100, 10), (1000, 100), (10**6, 10**5)]
)
def test_no_second_sees_more_than_its_rate_and_a_burst(total: int, burst: int) -> None:
    """A flood all the time: what is sent is spread over the second, as the rate says."""
    limiter = Limiter(Rates(total=total, prefix=10**6, prefix_burst=10**6), KEY)
    flood = column(list(range(1000)))
    for start in (0, 1, 7):
        sent = []
        for tick in range(limits.TICKS):
            now = start + tick * TICK
            granted = 0
            while limiter.left(33, now):
                granted += len(limiter.take(limiter.chance(33, flood, now, 1000), now))
            sent.append(granted)
        assert sent[0] <= burst
        assert max(sent[1:]) <= -(-total // limits.TICKS)
        assert total - burst <= sum(sent) <= total + burst


def test_no_more_are_looked_at_than_asked_for() -> None:
    assert ask(Limiter(RATES, KEY), 33, PREFIXES * 3, 0, most=3) == [0, 1, 2]


def test_what_is_not_taken_stays() -> None:
    limiter = Limiter(RATES, KEY)
    for _ in range(20):
        limiter.chance(33, column([10] * 20), 0, 99)
    chance = limiter.chance(33, column([10] * 20), 0, 99).take(np.arange(2))
    assert limiter.take(chance, 0).tolist() == [0, 1]
    assert ask(limiter, 33, [10] * 20, 0) == [0, 1, 2]


def test_nothing_asked_for_is_nothing_granted() -> None:
    assert ask(Limiter(RATES, KEY), 33, [], 0) == []


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_memory_is_bounded_whatever_the_prefixes(key: int, prefix: int) -> None:
    chance = Limiter(RATES, key).chance(255, column([prefix]), 0, 1)
    assert 0 <= chance.buckets[0] < limits.BUCKETS


def test_prefixes_are_spread_over_the_buckets() -> None:
    rates = Rates(total=1 << 30, prefix=1, prefix_burst=1)
    prefixes = np.arange(limits.BUCKETS, dtype=np.uint64)
    chance = Limiter(rates, KEY).chance(33, prefixes, 0, limits.BUCKETS)
    used = len(np.unique(chance.buckets))
    assert used > 0.6 * limits.BUCKETS  # at random it would be 0.632


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    limiter = Limiter(RATES, KEY)
    assert ask(limiter, 33, [10], 50) == [0]
    assert ask(limiter, 33, [10], 49) == [0]
