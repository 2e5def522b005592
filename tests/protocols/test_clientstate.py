from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from dstmrouter.protocols.clientstate import (
    HOLDING,
    TRANSITIONS,
    Input,
    State,
    mermaid,
    step,
)
from dstmrouter.transitions import TransitionError

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"
UNLISTED = [pair for pair in itertools.product(State, Input) if pair not in TRANSITIONS]


@pytest.mark.parametrize(("state", "happened"), UNLISTED)
def test_unlisted_pair_is_refused(state: State, happened: Input) -> None:
    with pytest.raises(TransitionError, match=f"{happened.name} in state {state.name}"):
        step(state, happened)


@pytest.mark.parametrize("state", State)
def test_every_state_can_end_and_notices_a_move(state: State) -> None:
    assert (state, Input.UNWANTED) in TRANSITIONS
    assert (state, Input.CHANGED6) in TRANSITIONS


@pytest.mark.parametrize("state", [state for state in State if state in HOLDING])
def test_a_lease_ends_by_removing_the_tunnel(state: State) -> None:
    ends = {TRANSITIONS[state, why] for why in (Input.EXPIRY, Input.CHANGED6, Input.UNWANTED)}
    assert ends == {State.EXPIRED, State.MOVED, State.RELEASING}
    others = {end for (start, _), end in TRANSITIONS.items() if start is state} - ends
    assert others <= HOLDING


@pytest.mark.parametrize("state", State)
def test_every_state_is_reached_and_left(state: State) -> None:
    assert any(end is state for (start, _), end in TRANSITIONS.items() if start is not state)
    assert any(end is not state for (start, _), end in TRANSITIONS.items() if start is state)


def test_the_document_shows_the_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"```mermaid\n{mermaid()}\n```" in text
    for state in State:
        assert f"| `{state.name}` | {state.value} |" in text
