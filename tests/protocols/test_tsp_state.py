from __future__ import annotations

import itertools

import pytest

from dstmrouter.protocols.tsp_state import (
    TRANSITIONS,
    Ending,
    Input,
    State,
    step,
)
from dstmrouter.transitions import TransitionError


def test_every_pair_is_in_the_table_or_an_error() -> None:
    for state, happened in itertools.product(State, Input):
        if (state, happened) in TRANSITIONS:
            assert step(state, happened) is TRANSITIONS[state, happened]
        else:
            with pytest.raises(TransitionError, match=state.name):
                step(state, happened)


def test_a_whole_life() -> None:
    state = State.VERSION
    for happened in (
        Input.GREETED,
        Input.CHOSEN,
        Input.CHALLENGED,
        Input.PROVED,
        Input.REQUESTED,
        Input.OFFERED,
        Input.REQUESTED,
        Input.ANSWERED,
    ):
        state = step(state, happened)
    assert state is State.COMMAND


def test_a_dialogue_can_end_anywhere_and_stays_ended() -> None:
    for state in State:
        assert step(state, Input.CLOSED) is State.CLOSED
    assert {happened for state, happened in TRANSITIONS if state is State.CLOSED} == {Input.CLOSED}


def test_endings_are_counters() -> None:
    assert all(ending.value.startswith("dialogues ended") for ending in Ending)
