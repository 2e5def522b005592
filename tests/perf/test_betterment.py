"""The sense of figures."""

from __future__ import annotations

import pytest

from perf.betterment import Better, better, improvement
from perf.results import Row


@pytest.mark.parametrize(
    ("work", "unit", "sense"),
    [
        ("encap", "Mpps", Better.LARGER),
        ("encap", "ns/packet", Better.SMALLER),
        ("snapshot", "s", Better.SMALLER),
        ("encap: lost", "Mpps", Better.SMALLER),
        ("encap: offered", "Mpps", Better.NEITHER),
        ("a: b: lost", "ppm", Better.SMALLER),
        ("encap", "furlongs", Better.NEITHER),
    ],
)
def test_sense(work: str, unit: str, sense: Better) -> None:
    assert better(Row({"bench": "b", "work": work, "unit": unit}, [1.0])) is sense


@pytest.mark.parametrize(
    ("first", "other", "sense", "times"),
    [
        (10, 9, Better.LARGER, 0.9),
        (9, 10, Better.SMALLER, 0.9),
        (10, 9, Better.NEITHER, None),
        (0, 9, Better.SMALLER, None),
        (9, 0, Better.LARGER, None),
        (-1, 9, Better.LARGER, None),
    ],
)
def test_improvement(first: float, other: float, sense: Better, times: float | None) -> None:
    assert improvement(first, other, sense) == times
