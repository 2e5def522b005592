"""Searches by halving, as RFC 2544 section 24 and RFC 9004 section 5 want them; without any I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS_MAX = 20


def highest_rate(
    passed: Callable[[float], float | None], low: float, high: float, resolution: float
) -> float:
    """The highest rate that passed, to `resolution` of `high`; `low` if none did.

    `passed(rate)` is the rate that was really offered, or None if the device did not pass.
    """
    best, step = low, 0
    while high - low > resolution * high and step < STEPS_MAX:
        rate = (low + high) / 2
        offered = passed(rate)
        if offered is None:
            high = rate
        else:
            low, best = rate, max(best, offered)
        step += 1
    return best


def longest_burst(passed: Callable[[int], bool], longest: int, resolution: float) -> int:
    """The longest burst that passed, at most `longest`; 0 if none did.

    The length grows fourfold until one fails, then the gap is halved.
    """
    low, high = 0, 64
    while high < longest and passed(high):
        low, high = high, high * 4
    if high >= longest:
        if passed(longest):
            return longest
        high = longest
    while high - low > max(1, resolution * high):
        middle = (low + high) // 2
        if passed(middle):
            low = middle
        else:
            high = middle
    return low
