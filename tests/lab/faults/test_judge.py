"""What must not happen is noticed and counted."""

from __future__ import annotations

import pytest

from lab.faults.judge import Judge, Pause

A, B = "2001:db8:1::a", "2001:db8:1::b"
FIRST, SECOND = "203.0.113.1", "203.0.113.2"


@pytest.fixture
def judge() -> Judge:
    return Judge({A: FIRST})


def test_all_is_well(judge: Judge) -> None:
    tables = {"gw1": [(FIRST, A), (SECOND, B)], "gw2": [(FIRST, A)], "server": [(FIRST, A)]}
    judge.look(tables, {A: FIRST})
    judge.granted(SECOND, B, {"gw1": {SECOND: B}, "gw2": {FIRST: A, SECOND: B}})
    judge.granted(SECOND, B, {})  # both died at that moment: nobody knows
    judge.lost([("gw1", 2.0)], {"gw1": [Pause(0, 1), Pause(1.5)], "gw2": []})
    figures = judge.figures
    assert (figures.looks, figures.grants, figures.excused) == (1, 2, 1)
    assert (judge.problems, figures.wrong()) == ([], 0)


@pytest.mark.parametrize(
    "tables",
    [
        {"gw1": [(FIRST, A), (FIRST, B)]},
        {"gw1": [(FIRST, A)], "gw2": [(FIRST, B)]},
        {"gw2": [(FIRST, B)], "server": [(FIRST, A)]},
    ],
)
def test_two_holders(judge: Judge, tables: dict[str, list[tuple[str, str]]]) -> None:
    judge.look(tables, {A: FIRST})
    assert judge.figures.duplicates == judge.figures.wrong() == 1
    [problem] = judge.problems
    assert FIRST in problem
    assert B in problem


@pytest.mark.parametrize("held", [None, SECOND])
def test_a_lost_lease(judge: Judge, held: str | None) -> None:
    judge.look({}, {A: held})
    assert judge.figures.leases_lost == judge.figures.wrong() == 1
    assert len(judge.problems) == 1


@pytest.mark.parametrize("table", [None, {}, {SECOND: A}, {FIRST: B}])
def test_an_answer_before_a_router_has_it(judge: Judge, table: dict[str, str] | None) -> None:
    judge.granted(SECOND, B, {"gw1": {SECOND: B}, "gw2": table})
    assert judge.figures.early_grants == judge.figures.wrong() == 1
    assert "gw2" in judge.problems[0]


@pytest.mark.parametrize("sent_at", [0.9, 2.1])
def test_forwarding_that_stops_while_the_router_is_well(judge: Judge, sent_at: float) -> None:
    lost = [("gw1", sent_at - 0.3), ("gw1", sent_at), ("gw1", sent_at + 0.02)]
    judge.lost(lost, {"gw1": [Pause(1.0, 1.5)], "gw2": [Pause(0.0)]})
    assert judge.figures.echoes_lost == 3
    assert judge.figures.stops == judge.figures.wrong() == len(judge.problems) == 1
    assert judge.figures.excused == 0


def test_single_echoes_may_get_lost(judge: Judge) -> None:
    judge.lost([("gw1", 1.0), ("gw1", 1.5), ("gw2", 1.51), ("gw2", 1.1)], {"gw1": [], "gw2": []})
    assert (judge.figures.echoes_lost, judge.figures.wrong()) == (4, 0)
