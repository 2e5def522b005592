"""Alarms of pools that run out: each level is told once when it is reached, and once when it ends.

A level ends `HYSTERESIS` below where it began, so that a pool that goes up and down around a level
is not told about again and again.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS: Final = (80, 95)  # percent of the addresses in use
HYSTERESIS: Final = 5  # percent


@dataclasses.dataclass(frozen=True, slots=True)
class Crossing:
    """Pool number `pool` went from one level (0: none) to another; `used` is in percent."""

    pool: int
    before: int
    after: int
    used: float

    @property
    def rising(self) -> bool:
        """Whether it got worse."""
        return self.after > self.before


class PoolAlarms:
    """The level of each of `pools` pools."""

    def __init__(self, pools: int) -> None:
        self.levels = [0] * pools

    def update(self, used: Sequence[float]) -> list[Crossing]:
        """Take note of the share of each pool in use, in percent; return the levels crossed."""
        crossings = []
        for pool, percent in enumerate(used):
            before = self.levels[pool]
            after = _level(percent, before)
            if after != before:
                self.levels[pool] = after
                crossings.append(Crossing(pool, before, after, percent))
        return crossings


def _level(percent: float, before: int) -> int:
    """The highest level that `percent` reaches, or has reached and not yet left."""
    reached = [
        level for level in LEVELS if percent >= (level - HYSTERESIS if level <= before else level)
    ]
    return max(reached, default=0)
