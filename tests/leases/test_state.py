from __future__ import annotations

import itertools

import pytest

from dstmrouter.leases.state import BOUND, TIMED, TRANSITIONS, Input, State, step
from dstmrouter.transitions import TransitionError

UNLISTED = [pair for pair in itertools.product(State, Input) if pair not in TRANSITIONS]


@pytest.mark.parametrize(("state", "happened"), UNLISTED)
def test_unlisted_pair_is_refused(state: State, happened: Input) -> None:
    with pytest.raises(TransitionError, match=f"{happened.name} in state {state.name}"):
        step(state, happened)


def test_timed_states_are_those_that_a_timeout_leaves() -> None:
    assert {state for state, happened in TRANSITIONS if happened is Input.TIMEOUT} == TIMED


def test_no_way_from_bound_to_free_avoids_removal_and_quarantine() -> None:
    for avoided in (State.REMOVING, State.QUARANTINE):
        assert State.FREE not in reachable_without(avoided, from_states=BOUND)


def reachable_without(avoided: State, from_states: frozenset[State]) -> set[State]:
    reached, fresh = set(from_states), set(from_states)
    while fresh:
        fresh = {end for (start, _), end in TRANSITIONS.items() if start in fresh}
        fresh -= reached | {avoided}
        reached |= fresh
    return reached


def test_stored_numbers_never_change() -> None:
    numbers = {state.name: state.value for state in State}
    assert numbers == {
        "FREE": 0,
        "OFFERED": 1,
        "ACTIVE": 2,
        "REMOVING": 3,
        "QUARANTINE": 4,
        "HELD": 5,
    }
