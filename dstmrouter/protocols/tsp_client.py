"""The client's side of one TSP dialogue: octets in, events and octets out.

    chunks() -> [octets]          messages to send, one datagram each over UDP
    receive_data(data)            buffer what came
    next_event() -> Event | None  None: more octets are needed
    create / accept / delete / info    ask, once `Ready` or an answer has come

A server that says no, or something that is no TSP, is an event too, and the last one.
"""

from __future__ import annotations

import base64
import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl_text import unbase64
from dstmrouter.protocols.tsp_frame import FRAME_LIMIT, ReceiveBuffer, frame
from dstmrouter.protocols.tsp_greeting import (
    TUNNEL,
    decode_capability,
    decode_status,
    version_line,
)
from dstmrouter.protocols.tsp_status import REDIRECTION, Status
from dstmrouter.protocols.tsp_xml import Action, Tunnel, decode, encode
from dstmrouter.transitions import Word, next_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstmrouter.protocols.sasl_client import ClientMechanism, Credential


class State(Word):
    """What a client's session waits for."""

    CAPABILITY = "what the server can do"
    PROOF = "the mechanism's next message, or the verdict"
    READY = "our own wish"
    ASKED = "the answer to a request"
    LISTED = "the rest of a list of other servers"
    CLOSED = "nothing"


class Input(Word):
    """What can happen to a client's session."""

    OFFERED = "the server has a mechanism for us"
    CHALLENGED = "the mechanism goes on"
    ADMITTED = "the server let us in"
    ASKED = "we ask"
    ANSWERED = "the server has answered"
    REDIRECTED = "the server sends us elsewhere"
    CLOSED = "the dialogue ended"


TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = MappingProxyType(
    {
        (State.CAPABILITY, Input.OFFERED): State.PROOF,
        (State.PROOF, Input.CHALLENGED): State.PROOF,
        (State.PROOF, Input.ADMITTED): State.READY,
        (State.READY, Input.ASKED): State.ASKED,
        (State.ASKED, Input.ANSWERED): State.READY,
        (State.CAPABILITY, Input.REDIRECTED): State.LISTED,
        (State.PROOF, Input.REDIRECTED): State.LISTED,
        **{(state, Input.CLOSED): State.CLOSED for state in State},
    }
)


def step(state: State, happened: Input) -> State:
    """Return the next state; an unlisted pair raises `TransitionError`."""
    return next_state(TRANSITIONS, state, happened)


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """The server let us in."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """The server did what we asked; `tunnel` is what it told."""

    tunnel: Tunnel | None


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """The server said no; `status` is its code, known to us or not."""

    status: int


@dataclasses.dataclass(frozen=True, slots=True)
class Redirected:
    """The server names others to ask, the first first."""

    brokers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """The dialogue cannot go on; `final` when asking again is of no use."""

    why: str
    final: bool = False


Event: TypeAlias = Ready | Answered | Refused | Redirected | Failed


class ClientSession:
    """One dialogue in `version`; `credential` says who we are and what we are willing to send."""

    def __init__(self, version: str, credential: Credential) -> None:
        self.state = State.CAPABILITY
        self._credential = credential
        self._mechanism: ClientMechanism | None = None
        self._buffer = ReceiveBuffer()
        self._out = [version_line(version)]

    def chunks(self) -> list[bytes]:
        """Take out the messages to send, in order."""
        out, self._out = self._out, []
        return out

    def receive_data(self, data: bytes) -> None:
        """Take octets of the server."""
        self._buffer.receive_data(data)

    def create(self, tunnel: Tunnel) -> None:
        """Ask for a tunnel, or for a longer life of the one we have."""
        self._ask(tunnel)

    def delete(self, tunnel: Tunnel) -> None:
        """Give the tunnel back."""
        self._ask(tunnel)

    def info(self) -> None:
        """Ask what the server knows of our tunnel."""
        self._ask(Tunnel(action=Action.INFO))

    def accept(self) -> None:
        """Take what was offered; a server says nothing to that."""
        assert self.state is State.READY
        self._out.append(frame(encode(Tunnel(action=Action.ACCEPT, type=None))))

    def next_event(self) -> Event | None:
        """What the server said; nothing more comes after `Refused` before `Ready`, or `Failed`."""
        try:
            return self._next_event()
        except DecodeError as error:
            self.state = step(self.state, Input.CLOSED)
            return Failed(str(error))

    def _next_event(self) -> Event | None:
        while self.state in {State.CAPABILITY, State.PROOF}:
            line = self._buffer.line()
            if line is None:
                return None
            event = self._greeted(line) if self.state is State.CAPABILITY else self._proved(line)
            if event is not None:
                return event
        if self.state is State.LISTED:
            return self._list()
        if self.state is State.CLOSED:
            return None
        body = self._buffer.frame()
        return None if body is None else self._answered(body)

    def _greeted(self, line: bytes) -> Event | None:
        status = decode_status(line)
        if status is not None:
            return self._verdict(status)
        tunnels, mechanisms = decode_capability(line)
        if TUNNEL not in tunnels:
            return self._closed(Failed("the server has no v4v6 tunnels", final=True))
        found = self._credential.mechanism(mechanisms)
        if found is None:
            offered = ", ".join(sorted(mechanisms))[:100] or "nothing"
            why = f"the server offers {offered}, none of which we may use"
            return self._closed(Failed(why, final=True))
        name, self._mechanism = found
        self._out.append(f"AUTHENTICATE {name}\r\n".encode("ascii"))
        self.state = step(self.state, Input.OFFERED)
        self._say(self._mechanism.start())
        return None

    def _proved(self, line: bytes) -> Event | None:
        status = decode_status(line)
        if status is not None:
            return self._verdict(status)
        mechanism = self._mechanism
        assert mechanism is not None
        if not mechanism.encoded:
            raise DecodeError("expected a status")
        self.state = step(self.state, Input.CHALLENGED)
        self._say(mechanism.step(unbase64(line.strip(b"\0 "))))
        return None

    def _say(self, message: bytes | None) -> None:
        if message is not None:
            assert self._mechanism is not None
            encoded = base64.b64encode(message) if self._mechanism.encoded else message
            self._out.append(encoded + b"\r\n")

    def _verdict(self, status: int) -> Event | None:
        """A status in place of a line of the greeting or of the mechanism."""
        if status > REDIRECTION:
            self.state = step(self.state, Input.REDIRECTED)
            return None
        if status != Status.SUCCESS:
            return self._closed(Refused(status))
        if self._mechanism is None or not self._mechanism.satisfied:
            raise DecodeError("the server lets us in without having proved itself")
        self.state = step(self.state, Input.ADMITTED)
        return Ready()

    def _list(self) -> Event | None:
        """A list without a length ends with its element."""
        body = self._buffer.until(b"</tunnel>")
        return None if body is None else self._closed(Redirected(decode(body).brokers))

    def _answered(self, body: bytes) -> Event:
        line, _, rest = body.partition(b"\n")
        status = decode_status(line)
        if status is None:
            raise DecodeError("expected a status")
        if self.state is not State.ASKED:  # such as what became of an offer that we took
            return self._closed(Refused(status))
        self.state = step(self.state, Input.ANSWERED)
        tunnel = decode(rest) if rest.strip(b"\0 \r\n") else None
        if status > REDIRECTION:
            return self._closed(Redirected(tunnel.brokers if tunnel is not None else ()))
        return Answered(tunnel) if status == Status.SUCCESS else Refused(status)

    def _ask(self, tunnel: Tunnel) -> None:
        self.state = step(self.state, Input.ASKED)
        body = encode(tunnel)
        assert len(body) <= FRAME_LIMIT
        self._out.append(frame(body))

    def _closed(self, event: Event) -> Event:
        self.state = step(self.state, Input.CLOSED)
        return event
