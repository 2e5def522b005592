"""State machines as tables: a step is a look-up, and what the table does not have cannot happen."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

StateT = TypeVar("StateT", bound=Enum)
InputT = TypeVar("InputT", bound=Enum)


class Word(Enum):
    """A member of a table's alphabet.

    There is one object for each, so that is what is hashed; Enum hashes names, in Python, at every
    look-up.
    """

    __hash__ = object.__hash__


class TransitionError(AssertionError):
    """A step that the table does not have: a mistake of the caller, and nothing was changed."""


def next_state(
    table: Mapping[tuple[StateT, InputT], StateT], state: StateT, happened: InputT
) -> StateT:
    """Where `table` leads from `state`; an unlisted pair raises `TransitionError`."""
    try:
        return table[state, happened]
    except KeyError:
        raise TransitionError(f"{happened.name} in state {state.name}") from None
