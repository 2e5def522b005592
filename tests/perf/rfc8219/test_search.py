"""Searches against devices that pass exactly up to a limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perf.rfc8219.search import STEPS_MAX, highest_rate, longest_burst


@given(st.floats(1, 1000), st.floats(0.005, 0.2))
def test_the_highest_rate_is_found_to_the_resolution(limit: float, resolution: float) -> None:
    found = highest_rate(lambda rate: rate if rate <= limit else None, 0, 1000, resolution)
    assert found <= limit
    assert limit - found <= 2 * resolution * max(limit, 1000 / 2**STEPS_MAX)


def test_a_device_that_loses_at_every_rate_has_no_throughput() -> None:
    tried: list[float] = []
    assert highest_rate(tried.append, 0, 1000, 0.01) == 0
    assert len(tried) == STEPS_MAX


def test_the_rate_told_is_the_one_offered() -> None:
    found = highest_rate(lambda rate: 0.9 * rate if rate < 500 else None, 0, 1000, 0.01)
    assert 0.9 * 490 <= found < 0.9 * 500


@given(st.integers(0, 100_000), st.integers(64, 100_000))
def test_the_longest_burst_is_found(limit: int, longest: int) -> None:
    tried: list[int] = []

    def passed(length: int) -> bool:
        tried.append(length)
        return length <= limit

    found = longest_burst(passed, longest, 0.01)
    assert found <= min(limit, longest)
    assert found >= min(limit, longest) - max(1, 0.02 * limit) - 1
    assert max(tried) <= longest
