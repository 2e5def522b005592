"""The life of a lent address as a table: which input moves it from which state to which.

    FREE -> OFFERED -> ACTIVE -> REMOVING -> QUARANTINE -> FREE

An address is REMOVING until no router can forward for it any more: every router has acknowledged,
or the lifetime that the routers were told has run out. Only then does its quarantine begin, so that
late packets for the former holder never reach a new one.

The former holder itself may have its address back on the way (GRANT in REMOVING or QUARANTINE):
packets that are still under way are its own. Who asks is checked by the book, not by this table.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dstmrouter.transitions import Word, next_state

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(IntEnum):
    """What an address is doing; the value is what the store keeps, so it never changes."""

    FREE = 0
    OFFERED = 1
    ACTIVE = 2
    REMOVING = 3
    QUARANTINE = 4
    HELD = 5


class Input(Word):
    """What can happen to an address."""

    OFFER = "offer"
    GRANT = "grant"
    RENEW = "renew"
    RELEASE = "release"
    TIMEOUT = "timeout"
    REMOVED = "removed"
    HOLD = "hold"
    UNHOLD = "unhold"


BOUND: Final = frozenset({State.OFFERED, State.ACTIVE})
"""Routers forward for these addresses."""

TIMED: Final = frozenset({State.OFFERED, State.ACTIVE, State.REMOVING, State.QUARANTINE})
"""States that end by themselves."""

TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = MappingProxyType(
    {
        (State.FREE, Input.OFFER): State.OFFERED,
        (State.FREE, Input.GRANT): State.ACTIVE,
        (State.OFFERED, Input.OFFER): State.OFFERED,
        (State.OFFERED, Input.GRANT): State.ACTIVE,  # the client took the offer
        (State.OFFERED, Input.RELEASE): State.REMOVING,
        (State.OFFERED, Input.TIMEOUT): State.REMOVING,
        (State.ACTIVE, Input.OFFER): State.ACTIVE,
        (State.ACTIVE, Input.GRANT): State.ACTIVE,  # asked twice: extended
        (State.ACTIVE, Input.RENEW): State.ACTIVE,
        (State.ACTIVE, Input.RELEASE): State.REMOVING,
        (State.ACTIVE, Input.TIMEOUT): State.REMOVING,
        (State.REMOVING, Input.OFFER): State.OFFERED,
        (State.REMOVING, Input.GRANT): State.ACTIVE,
        (State.REMOVING, Input.REMOVED): State.QUARANTINE,
        (State.REMOVING, Input.TIMEOUT): State.QUARANTINE,
        (State.QUARANTINE, Input.OFFER): State.OFFERED,
        (State.QUARANTINE, Input.GRANT): State.ACTIVE,
        (State.QUARANTINE, Input.TIMEOUT): State.FREE,
        (State.FREE, Input.HOLD): State.HELD,
        (State.OFFERED, Input.HOLD): State.HELD,
        (State.ACTIVE, Input.HOLD): State.HELD,
        (State.REMOVING, Input.HOLD): State.HELD,
        (State.QUARANTINE, Input.HOLD): State.HELD,
        # Routers may still know an address that was taken from its holder: remove it again.
        (State.HELD, Input.UNHOLD): State.REMOVING,
    }
)


def step(state: State, happened: Input) -> State:
    """Return the next state; an unlisted pair raises `TransitionError`."""
    return next_state(TRANSITIONS, state, happened)
