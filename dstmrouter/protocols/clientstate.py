"""The life of a client as a table: which input moves it from which state to which.

The names are those of a DHCP client (RFC 2131 section 4.4) as far as they fit; DISCOVER is finding
a server, not a message. Asking is one state, REQUESTING, whatever rounds of authentication the
protocol needs. `docs/client.md` has this table as a diagram, made by `mermaid`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dstmrouter.transitions import Word, next_state

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(Word):
    """What a client is doing; the text is for people."""

    INIT = "no lease, and none is being asked for"
    DISCOVER = "looks for servers, and for the IPv6 address to ask from"
    REQUESTING = "has asked a server"
    VERIFY = "the tunnel is up; does its other end answer?"
    BOUND = "has a lease"
    RENEWING = "half of the lease is over: asks its server again"
    REBINDING = "an eighth of the lease is left: asks any server"
    DEAD = "the other end is silent: asks again, and keeps the address while the lease lasts"
    EXPIRED = "the lease is over: the tunnel is being removed"
    MOVED = "the IPv6 address is another: the tunnel is being removed"
    RELEASING = "gives the lease back"


class Input(Word):
    """What can happen to a client."""

    WANTED = "IPv4 is wanted"
    UNWANTED = "no longer wanted"
    FOUND = "servers found"
    NO_SERVER = "no server found"
    GRANTED = "lease granted"
    REPLACED = "another lease granted"
    REFUSED = "refused"
    EXHAUSTED = "refused by the last server"
    VERIFIED = "the other end answers"
    SILENT = "the other end is silent"
    HEARD = "the other end is back"
    T1 = "T1"
    T2 = "T2"
    EXPIRY = "lease over"
    CHANGED6 = "IPv6 address changed"
    IMPOSSIBLE = "tunnel impossible"
    CLEARED = "tunnel removed"
    RELEASED = "given back"


HOLDING: Final = frozenset({State.VERIFY, State.BOUND, State.RENEWING, State.REBINDING, State.DEAD})
"""States with a lease; it ends in all of them alike."""

_ENDS: Final = {
    (state, happened): end
    for state in State
    if state in HOLDING
    for happened, end in (
        (Input.EXPIRY, State.EXPIRED),
        (Input.CHANGED6, State.MOVED),
        (Input.UNWANTED, State.RELEASING),
        (Input.IMPOSSIBLE, State.RELEASING),
    )
}
_STAYS: Final = {
    (state, happened): state
    for state in (State.INIT, State.EXPIRED, State.MOVED, State.RELEASING)
    for happened in (Input.UNWANTED, Input.CHANGED6)
}

TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = MappingProxyType(
    {
        (State.INIT, Input.WANTED): State.DISCOVER,
        (State.DISCOVER, Input.FOUND): State.REQUESTING,
        (State.DISCOVER, Input.NO_SERVER): State.INIT,
        (State.DISCOVER, Input.UNWANTED): State.INIT,
        (State.DISCOVER, Input.CHANGED6): State.INIT,
        (State.REQUESTING, Input.GRANTED): State.VERIFY,
        (State.REQUESTING, Input.REFUSED): State.REQUESTING,  # the next server
        (State.REQUESTING, Input.EXHAUSTED): State.INIT,
        (State.REQUESTING, Input.UNWANTED): State.INIT,
        (State.REQUESTING, Input.CHANGED6): State.INIT,
        (State.VERIFY, Input.VERIFIED): State.BOUND,
        (State.VERIFY, Input.SILENT): State.DEAD,
        (State.BOUND, Input.T1): State.RENEWING,
        (State.BOUND, Input.SILENT): State.DEAD,
        # Answers to what was asked before the other end was heard again.
        (State.BOUND, Input.GRANTED): State.BOUND,
        (State.BOUND, Input.REPLACED): State.VERIFY,
        (State.BOUND, Input.REFUSED): State.BOUND,
        (State.RENEWING, Input.GRANTED): State.BOUND,
        (State.RENEWING, Input.REPLACED): State.VERIFY,
        (State.RENEWING, Input.REFUSED): State.RENEWING,
        (State.RENEWING, Input.T2): State.REBINDING,
        (State.RENEWING, Input.SILENT): State.DEAD,
        (State.REBINDING, Input.GRANTED): State.BOUND,
        (State.REBINDING, Input.REPLACED): State.VERIFY,
        (State.REBINDING, Input.REFUSED): State.REBINDING,
        (State.REBINDING, Input.SILENT): State.DEAD,
        (State.DEAD, Input.GRANTED): State.VERIFY,
        (State.DEAD, Input.REPLACED): State.VERIFY,
        (State.DEAD, Input.REFUSED): State.DEAD,
        (State.DEAD, Input.HEARD): State.BOUND,
        (State.EXPIRED, Input.CLEARED): State.INIT,
        (State.MOVED, Input.CLEARED): State.INIT,
        (State.RELEASING, Input.CLEARED): State.RELEASING,
        (State.RELEASING, Input.RELEASED): State.INIT,
        **_ENDS,
        **_STAYS,
    }
)


def step(state: State, happened: Input) -> State:
    """Return the next state; an unlisted pair raises `TransitionError`."""
    return next_state(TRANSITIONS, state, happened)


def mermaid() -> str:
    """The table as a diagram in the notation of mermaid; steps that stay are left out."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (start, happened), end in TRANSITIONS.items():
        if start is not end:
            arrows.setdefault((start, end), []).append(happened.value)
    lines = [
        f"    {start.name} --> {end.name}: {', '.join(causes)}"
        for (start, end), causes in arrows.items()
    ]
    return "\n".join(["stateDiagram-v2", "    [*] --> INIT", *lines])
