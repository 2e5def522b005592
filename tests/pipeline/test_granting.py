"""Rows and places for errors; what the limits are is in `test_limits`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from dstmrouter.pipeline.granting import Granting
from dstmrouter.pipeline.outcome import Outcome
from dstmrouter.pipeline.rules import IcmpRules
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.memory import Index

KEY: Final = 0x0123456789ABCDEF  # spreads prefixes
KIND: Final = Verdict.SENT_TTL
UNSENT: Final = Verdict.UNSENT_ICMPV4
RULES: Final = IcmpRules(prefix_rate=1, prefix_burst=2, burst_limit=6)


@dataclasses.dataclass
class Frames:
    """So many places, from octet 256 on."""

    left: int

    def places(self, limit: int) -> Index:
        n = min(limit, self.left)
        self.left -= n
        return np.arange(n) * 2048 + 256


def granting(frames: int = 99) -> Granting:
    own: Any = Frames(frames)
    return Granting(RULES, 100, KEY, own, UNSENT)


def ask(
    granting: Granting, prefixes: list[int], answerable: Any = None
) -> tuple[list[int], int, int]:
    """Rows, how many places, and how many are told as unsent."""
    outcome = Outcome(np.zeros(0, np.uint8))
    column = np.array(prefixes, np.uint64)
    rows, at = granting.places(KIND, column, 0.0, outcome, answerable)
    assert {noted.verdict for noted in outcome.noted} <= {UNSENT}
    return rows.tolist(), len(at), sum(noted.packets for noted in outcome.noted)


def test_rows_within_the_limits_get_places() -> None:
    assert ask(granting(), [1, 2, 3, 1, 1]) == ([0, 1, 2, 3], 4, 1)
    assert ask(granting(), list(range(8))) == (list(range(6)), 6, 2)
    assert ask(granting(), []) == ([], 0, 0)


def test_without_frames_they_are_unsent() -> None:
    assert ask(granting(frames=1), [1, 2, 3]) == ([0], 1, 2)


@pytest.mark.parametrize("burst", [[1] * 5, [1, 1, 1, 2, 3]])
def test_what_may_not_be_told_is_neither_sent_nor_unsent(burst: list[int]) -> None:
    def none(rows: Index) -> Mask:
        return np.zeros(len(rows), np.bool_)

    asked = granting()
    assert ask(asked, burst, none) == ([], 0, 0)
    assert ask(asked, [1, 1, 1]) == ([0, 1], 2, 1), "and costs no token"


def test_what_is_over_a_limit_is_not_asked_about() -> None:
    asked: list[int] = []

    def note(rows: Index) -> Mask:
        asked.extend(rows.tolist())
        even: Mask = rows % 2 == 0
        return even

    asking = granting()
    assert ask(asking, [1] * 2) == ([0, 1], 2, 0)
    assert ask(asking, [1, 2, 1, 3, 4], note) == ([4], 1, 2)
    assert asked == [1, 3, 4]


def test_exhausted() -> None:
    asking = granting()
    assert not asking.exhausted(KIND, 0.0)
    for prefix in range(10):
        ask(asking, [prefix])
    assert asking.exhausted(KIND, 0.0)
    assert not asking.exhausted(KIND, 1.0)
