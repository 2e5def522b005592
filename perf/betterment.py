"""Which way a figure gets better, by its unit; and the few that say nothing of good or bad."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from perf.results import Row


class Better(enum.Enum):
    """The sense of a figure."""

    LARGER = "larger"
    SMALLER = "smaller"
    NEITHER = "neither"


_SMALLER: Final = (
    *("ns/packet", "ns", "us", "ms", "s", "cycles/packet"),
    *("octets", "octets/lease", "MB", "MiB", "packets", "ppm", "%", "% of the rate"),
)
UNITS: Final[dict[str, Better]] = {
    **dict.fromkeys(("Mpps", "M/s", "1/s", "changes/s", "Gbit/s", "frames"), Better.LARGER),
    **dict.fromkeys(_SMALLER, Better.SMALLER),
}
# What follows the last colon of `work`, where that tells more than the unit.
ENDINGS: Final[dict[str, Better]] = {
    "lost": Better.SMALLER,
    "offered": Better.NEITHER,
    "CPU": Better.SMALLER,
    "user share": Better.NEITHER,
}


def better(row: Row) -> Better:
    """The sense of a figure; NEITHER for units that are not known here."""
    ending = row.work.rpartition(": ")[2]
    return ENDINGS.get(ending) or UNITS.get(row.unit, Better.NEITHER)


def improvement(first: float, other: float, sense: Better) -> float | None:
    """How many times better `other` is than `first`; below 1 it is worse.

    None where that cannot be said: for figures without a sense, and for what was or is zero.
    """
    if sense is Better.NEITHER or first <= 0 or other <= 0:
        return None
    return other / first if sense is Better.LARGER else first / other
