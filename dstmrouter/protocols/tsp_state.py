"""The server's side of a TSP dialogue as a table, RFC 5572 section 4.4, and how dialogues end.

    VERSION -> AUTHENTICATE -> PROOF -> COMMAND <-> DECIDING <-> OFFERED

A request of the client moves COMMAND and OFFERED to DECIDING, where the session waits for whoever
owns the leases. Asking again while an offer stands is a request like any other: clients that lost
an answer do so, and `create` means "create or update".
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dstmrouter.transitions import Word, next_state

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(Word):
    """What a session waits for."""

    VERSION = "the client's version"
    AUTHENTICATE = "the client's choice of a mechanism"
    PROOF = "the client's next message of the mechanism"
    COMMAND = "a request"
    DECIDING = "our own answer"
    OFFERED = "accept or reject"
    CLOSED = "nothing"


class Input(Word):
    """What can happen to a session."""

    GREETED = "version is one of ours"
    CHOSEN = "mechanism is one of ours"
    CHALLENGED = "proof goes on"
    PROVED = "identity is known"
    REQUESTED = "request is well formed"
    OFFERED = "a tunnel was set aside for the client"
    ANSWERED = "a request was carried out or refused"
    CLOSED = "the dialogue ended, by whom and why ever"


LINES: Final = frozenset({State.VERSION, State.AUTHENTICATE, State.PROOF})
"""States in which messages are lines; in the others they are frames."""

TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = MappingProxyType(
    {
        (State.VERSION, Input.GREETED): State.AUTHENTICATE,
        (State.AUTHENTICATE, Input.CHOSEN): State.PROOF,
        (State.PROOF, Input.CHALLENGED): State.PROOF,
        (State.PROOF, Input.PROVED): State.COMMAND,
        (State.COMMAND, Input.REQUESTED): State.DECIDING,
        (State.OFFERED, Input.REQUESTED): State.DECIDING,
        (State.DECIDING, Input.OFFERED): State.OFFERED,
        (State.DECIDING, Input.ANSWERED): State.COMMAND,
        **{(state, Input.CLOSED): State.CLOSED for state in State},
    }
)


def step(state: State, happened: Input) -> State:
    """Return the next state; an unlisted pair raises `TransitionError`."""
    return next_state(TRANSITIONS, state, happened)


class Ending(Word):
    """Why the server ended a dialogue; the value is the help text of its counter."""

    MALFORMED = "dialogues ended by octets that are no TSP"
    UNSUPPORTED_VERSION = "dialogues ended because the client's version is not ours"
    AUTHENTICATION_FAILED = "dialogues ended by wrong credentials or an unknown mechanism"
    REDIRECTED = "dialogues ended by sending the client to other servers"
    TIMED_OUT = "dialogues ended because the client was too slow"
    OFFER_LOST = "dialogues ended because the offer was over when the client took it"
    SHUT_DOWN = "dialogues ended because the server stops"
