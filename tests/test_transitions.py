from __future__ import annotations

from enum import Enum

import pytest

from dstmrouter.transitions import TransitionError, Word, next_state


class Door(Enum):
    OPEN = 1
    SHUT = 2


class Push(Enum):
    IN = 1
    OUT = 2


TABLE = {(Door.OPEN, Push.IN): Door.SHUT, (Door.SHUT, Push.OUT): Door.OPEN}


def test_the_table_says_where() -> None:
    assert next_state(TABLE, Door.OPEN, Push.IN) is Door.SHUT


class Light(Word):
    RED = 1
    GREEN = 2


def test_words_are_hashed_as_objects() -> None:
    assert {Light.RED: "stop", Light.GREEN: "go"}[Light(2)] == "go"
    assert hash(Light.RED) == object.__hash__(Light.RED)
    assert Light["RED"] is Light.RED


def test_what_is_not_in_the_table_names_both() -> None:
    with pytest.raises(TransitionError, match=r"^OUT in state OPEN$"):
        next_state(TABLE, Door.OPEN, Push.OUT)
