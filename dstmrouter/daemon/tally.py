"""Counters of things that are rare beside packets: name, number, and what it means to people."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tally(StrEnum):
    """One table of counters; each member is a name and its `help`. Count in a `Counter[Tally]`."""

    help: str

    def __new__(cls, name: str, text: str) -> Self:
        """Make a member out of its name and text."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.help = text
        return member


def tally_rows(kinds: type[Tally], counts: Mapping[Tally, int]) -> list[dict[str, Any]]:
    """All members of `kinds`, with what was counted of each, for a status."""
    return [{"name": kind.value, "count": counts.get(kind, 0), "help": kind.help} for kind in kinds]
