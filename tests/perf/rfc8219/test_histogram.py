"""The histogram against sorted lists and a bucket computed bit by bit."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perf.rfc8219.histogram import BUCKETS, EDGES, SUB_BITS, VALUE_BITS, Delays, together

MOST = (1 << VALUE_BITS) - 1
DELAYS = st.lists(st.one_of(st.integers(0, 600), st.integers(0, MOST)), min_size=1, max_size=200)


def bucket_of(value: int) -> int:
    """Drop low bits until eight are left; 128 buckets for each number of bits dropped."""
    dropped = 0
    while value >> dropped >= 2 << SUB_BITS:
        dropped += 1
    return (dropped << SUB_BITS) + (value >> dropped)


def delays_of(values: list[int]) -> Delays:
    counts = np.zeros(BUCKETS, np.uint64)
    for value in values:
        counts[bucket_of(value)] += np.uint64(1)
    return Delays(counts, min(values), max(values), sum(values), np.array(values, np.uint32))


@given(st.integers(0, MOST))
def test_a_value_is_between_the_edges_of_its_bucket(value: int) -> None:
    bucket = bucket_of(value)
    assert EDGES[bucket] <= value < EDGES[bucket + 1]


def test_edges_cover_all_values_without_a_gap() -> None:
    assert EDGES[0] == 0
    assert EDGES[-1] == MOST + 1
    assert (np.diff(EDGES) > 0).all()
    assert [bucket_of(int(edge)) for edge in EDGES[:-1]] == list(range(BUCKETS))


@given(DELAYS, st.floats(0, 100))
def test_percentiles_are_those_of_the_sorted_list(values: list[int], percent: float) -> None:
    rank = max(math.ceil(percent / 100 * len(values)), 1)
    exact = sorted(values)[rank - 1]
    found = delays_of(values).percentile(percent)
    assert abs(found - exact) <= exact / (2 << SUB_BITS) + 0.5


@given(st.lists(DELAYS, min_size=1, max_size=4))
def test_some_streams_together_are_one(streams: list[list[int]]) -> None:
    one = together([delays_of(values) for values in streams])
    other = delays_of([value for values in streams for value in values])
    assert (one.counts == other.counts).all()
    assert (one.least, one.most, one.total) == (other.least, other.most, other.total)


def test_a_stream_without_frames_changes_nothing() -> None:
    some = delays_of([7, 9])
    none = Delays(np.zeros(BUCKETS, np.uint64), 0, 0, 0, np.zeros(0, np.uint32))
    assert together([none, some]).least == 7
    assert together([none, none]).least == 0


@given(DELAYS)
def test_extremes_and_mean_are_exact(values: list[int]) -> None:
    delays = delays_of(values)
    assert delays.percentile(0) == min(values)
    assert delays.percentile(100) == max(values)
    assert delays.mean == sum(values) / len(values)


def test_nothing_has_no_delay() -> None:
    nothing = Delays(np.zeros(BUCKETS, np.uint64), 0, 0, 0, np.zeros(4, np.uint32))
    assert math.isnan(nothing.percentile(50))
    assert math.isnan(nothing.mean)
    assert len(nothing.variations()) == 0


def test_variation_is_between_neighbours_that_both_arrived() -> None:
    delays = delays_of([100, 130, 0, 90, 95, 80])
    assert delays.variations().tolist() == [30, 5, -15]
