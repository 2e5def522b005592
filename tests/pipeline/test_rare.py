from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.pipeline.outcome import Outcome
from dstmrouter.pipeline.rare import RareWork
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep

if TYPE_CHECKING:
    from dstmrouter.pipeline.rare import Arrivals


class Changing:
    """Gives its packets another verdict and remembers them."""

    turn_step = TurnStep.REFUSALS

    def __init__(self, verdict: Verdict, into: Verdict, kept: int = 0) -> None:
        self.verdicts: tuple[Verdict, ...] = (verdict,)
        self.seen: list[tuple[int, list[int], list[int], list[int], int]] = []
        self._into = into
        self._kept = kept

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        columns = (arrivals.rows, arrivals.at, arrivals.length)
        self.seen.append((arrivals.port, *(column.tolist() for column in columns), now_s))
        outcome.verdicts[arrivals.rows] = self._into

    def expire(self, now_s: float, outcome: Outcome) -> None:
        outcome.released.append(np.array([now_s]))

    def held(self) -> int:
        return self._kept


def follow(rare: RareWork, verdicts: list[Verdict]) -> list[int]:
    outcome = Outcome(np.array(verdicts, np.uint8))
    n = len(verdicts)
    rare.follow(np.arange(n) * 10, np.arange(n) + 60, 3, 7, outcome)
    changed: list[int] = outcome.verdicts.tolist()
    return changed


def test_a_step_gets_the_frames_of_its_verdicts_only() -> None:
    step = Changing(Verdict.DROP_TTL, Verdict.DROP_LOCAL)
    burst = [Verdict.ENCAPSULATED, Verdict.DROP_TTL, Verdict.DROP_VLAN, Verdict.DROP_TTL]
    assert follow(RareWork([step]), burst) == [
        Verdict.ENCAPSULATED,
        Verdict.DROP_LOCAL,
        Verdict.DROP_VLAN,
        Verdict.DROP_LOCAL,
    ]
    assert step.seen == [(3, [1, 3], [10, 30], [61, 63], 7)]


def test_a_step_sees_what_the_ones_before_it_made() -> None:
    first = Changing(Verdict.DROP_TTL, Verdict.DROP_LOCAL)
    second = Changing(Verdict.DROP_LOCAL, Verdict.ECHO_ANSWERED)
    assert follow(RareWork([first, second]), [Verdict.DROP_TTL]) == [Verdict.ECHO_ANSWERED]
    assert follow(RareWork([second, first]), [Verdict.DROP_TTL]) == [Verdict.DROP_LOCAL]


def test_normal_bursts_cost_no_step() -> None:
    step = Changing(Verdict.DROP_TTL, Verdict.DROP_LOCAL)
    assert follow(RareWork([step]), [Verdict.ENCAPSULATED] * 3) == [Verdict.ENCAPSULATED] * 3
    assert step.seen == []


def test_time_passes_for_all_steps_and_all_their_frames_count() -> None:
    steps = [Changing(Verdict.DROP_TTL, Verdict.DROP_LOCAL, kept) for kept in (2, 3)]
    outcome = Outcome(np.zeros(0, np.uint8))
    RareWork(steps).expire(9, outcome)
    assert [column.tolist() for column in outcome.released] == [[9], [9]]
    assert RareWork(steps).held() == 5
