"""The server's side of one TSP dialogue: octets and `now` in, requests and octets out.

    receive_data(data)            buffer what came
    next_event(now) -> Request    None: more octets are needed, or the last request's answer, or end
    offer / answer / refuse       the answer to the request; then next_event goes on
    chunks() -> [Chunk]           what is to be sent now, or a little later
    deadline, expire(now)         when the client has been silent for too long

Whatever the peer sends, nothing is raised: the dialogue ends, with `ending` saying why.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl_text import unbase64
from dstmrouter.protocols.tsp_frame import ReceiveBuffer, frame
from dstmrouter.protocols.tsp_greeting import VERSIONS, capability_line, decode_version
from dstmrouter.protocols.tsp_state import LINES, Ending, Input, State, step
from dstmrouter.protocols.tsp_status import REDIRECTION, Status, TspError
from dstmrouter.protocols.tsp_xml import CLOSING, TUNNEL_TYPE, Action, Tunnel, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.protocols.sasl import Attempts, Mechanism, Reply

SETUP_S: Final = 30.0
"""From the first octet to an offer; deployed clients give up after as long."""

LINE_S: Final = 10.0
"""For each message on the way there."""

PROOF_GAP_S: Final = 0.1
"""Between the last message of a mechanism and the status line.

Deployed clients read both with one call and lose the second if they come in one TCP segment.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Octets to send, `delay_s` after those before; each is a datagram of its own over UDP."""

    data: bytes
    delay_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What all dialogues of a server have in common."""

    accept_s: float = 30.0  # how long an offer stands
    brokers: tuple[str, ...] = ()  # where every client is sent once it is authenticated


class Session:
    """One dialogue that began at `now`; `attempts` are the mechanisms that the client may use.

    With `identity` it begins authenticated, as over UDP, where that part needs no session.
    """

    def __init__(
        self, terms: SessionTerms, attempts: Attempts, *, now: float, identity: str | None = None
    ) -> None:
        self.state = State.VERSION if identity is None else State.COMMAND
        self.identity = identity
        self.ending: Ending | None = None
        self.why = ""  # text of `ending`, for the log
        self.deadline: float | None = now + LINE_S
        self._terms = terms
        self._attempts = attempts
        self._setup_until = now + SETUP_S
        self._mechanism: Mechanism | None = None
        self._buffer = ReceiveBuffer()
        self._out: list[Chunk] = []

    def receive_data(self, data: bytes) -> None:
        """Take octets of the client, not more than `room`."""
        self._buffer.receive_data(data)

    @property
    def closed(self) -> bool:
        """Whether the dialogue has ended; `chunks` may have a last word."""
        return self.state is State.CLOSED

    @property
    def room(self) -> int:
        """Octets that can be taken before the next event."""
        return self._buffer.room

    @property
    def complete(self) -> bool:
        """Whether the octets so far are whole messages."""
        return self._buffer.blank

    def chunks(self) -> list[Chunk]:
        """Take out what is to be sent, in order."""
        out, self._out = self._out, []
        return out

    def next_event(self, now: float) -> Tunnel | None:
        """The client's next request, which must be answered before the next call."""
        assert self.state is not State.DECIDING, "the last request has no answer yet"
        try:
            while self.state in LINES:
                if (line := self._buffer.line()) is None:
                    return None
                self._take_line(line, now)
            while self.state is not State.CLOSED:
                if (body := self._buffer.frame()) is None:
                    return None
                if (tunnel := self._take_frame(body)) is not None:
                    return tunnel
        except TspError as error:
            self._fail(Ending.MALFORMED, error.status, str(error))
        except DecodeError as error:
            self._fail(Ending.MALFORMED, Status.BAD_REQUEST, str(error))
        return None

    def offer(self, tunnel: Tunnel, now: float) -> None:
        """Answer a create: this tunnel is set aside until the client accepts."""
        if self.closed:  # while somebody decided
            return
        self._send_frame(Status.SUCCESS, tunnel)
        self.state = step(self.state, Input.OFFERED)
        self.deadline = now + self._terms.accept_s
        self._setup_until = math.inf

    def answer(self, tunnel: Tunnel | None, *, until: float) -> None:
        """Answer a request with success; `until` is when the session has nothing to wait for."""
        self._send_frame(Status.SUCCESS, tunnel)
        self.settle(until=until)

    def settle(self, *, until: float) -> None:
        """Go on without an answer, which accept and reject do not have."""
        if self.closed:
            return
        self.state = step(self.state, Input.ANSWERED)
        self.deadline = until

    def refuse(self, status: Status, *, until: float, brokers: Sequence[str] = ()) -> None:
        """Answer a request with an error, and with other servers to ask if there are any."""
        self._send_frame(status, _list_of(brokers) if brokers else None)
        self.settle(until=until)

    def grace(self, now: float) -> float:
        """Until when a client without a lease may be silent."""
        return min(now + LINE_S, self._setup_until)

    def expire(self, now: float) -> None:
        """End the dialogue if the client has been silent for too long."""
        if self.deadline is not None and self.deadline <= now:
            self.close(Ending.TIMED_OUT, "")

    def lose(self, why: str) -> None:
        """End the dialogue: the offer is no longer there to be taken."""
        self._fail(Ending.OFFER_LOST, Status.SERVER_ERROR, why)

    def reject_octets(self, why: str) -> None:
        """End the dialogue: the transport has seen something that is no TSP."""
        self._fail(Ending.MALFORMED, Status.BAD_REQUEST, why)

    def close(self, ending: Ending, why: str) -> None:
        """End the dialogue without a word."""
        if self.state is not State.CLOSED:
            self.ending, self.why = ending, why
        self.state = step(self.state, Input.CLOSED)
        self.deadline = None

    def _take_line(self, line: bytes, now: float) -> None:
        match self.state:
            case State.VERSION:
                self._greet(line)
            case State.AUTHENTICATE:
                self._choose(line)
            case _:
                self._advance(line)
        if self.deadline is not None:
            self.deadline = self.grace(now)

    def _greet(self, line: bytes) -> None:
        if decode_version(line) not in VERSIONS:
            self._fail(Ending.UNSUPPORTED_VERSION, Status.BAD_VERSION, "")
            return
        self._send(capability_line(self._attempts))
        self.state = step(self.state, Input.GREETED)

    def _choose(self, line: bytes) -> None:
        name = mechanism_name(line)
        begin = self._attempts.get(name)
        if begin is None:
            self._fail_proof(f"mechanism {name!r:.40} is not offered")
            return
        self._mechanism = begin()
        self.state = step(self.state, Input.CHOSEN)
        self._advance(None)

    def _advance(self, line: bytes | None) -> None:
        mechanism = self._mechanism
        assert mechanism is not None
        try:
            if line is None:
                reply = mechanism.start()
            else:
                reply = mechanism.step(message_in(line, encoded=mechanism.encoded))
        except DecodeError as error:
            self._fail_proof(str(error))
        else:
            self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        if reply.challenge is not None:
            self._send(base64.b64encode(reply.challenge) + b"\r\n")
        if reply.identity is None:
            self.state = step(self.state, Input.CHALLENGED)
            return
        self.identity = reply.identity
        self._mechanism = None
        self.state = step(self.state, Input.PROVED)
        delay_s = PROOF_GAP_S if reply.challenge is not None else 0.0
        self._out.append(Chunk(welcome(self._terms), delay_s))
        if self._terms.brokers:
            self.close(Ending.REDIRECTED, "")

    def _take_frame(self, body: bytes) -> Tunnel | None:
        """A request that somebody has to decide on; others are answered here."""
        until = self.deadline or self._setup_until
        try:
            tunnel = decode(body)
        except TspError as error:
            if error.status is Status.BAD_REQUEST:
                raise
            self.state = step(self.state, Input.REQUESTED)
            self.refuse(error.status, until=until)
            return None
        out_of_place = tunnel.action in CLOSING and self.state is not State.OFFERED
        if tunnel.action is Action.LIST or out_of_place:
            raise TspError(Status.BAD_REQUEST, f"{tunnel.action.value} out of place")
        self.state = step(self.state, Input.REQUESTED)
        if tunnel.type != TUNNEL_TYPE:
            self.refuse(Status.BAD_TUNNEL_TYPE, until=until)
            return None
        return tunnel

    def _fail_proof(self, why: str) -> None:
        self._fail(Ending.AUTHENTICATION_FAILED, Status.AUTHENTICATION_FAILED, why)

    def _fail(self, ending: Ending, status: Status, why: str) -> None:
        if self.closed:
            return
        if self.state in LINES:
            self._send(status.line())
        else:
            self._send_frame(status, None)
        self.close(ending, why)

    def _send(self, data: bytes) -> None:
        self._out.append(Chunk(data))

    def _send_frame(self, status: Status, tunnel: Tunnel | None) -> None:
        redirected = tunnel is not None and tunnel.action is Action.LIST
        body = status.line(redirected=redirected)
        self._send(frame(body if tunnel is None else body + encode(tunnel)))


def mechanism_name(line: bytes) -> str:
    """The mechanism in `AUTHENTICATE NAME`; DecodeError if the line is something else."""
    words = line.strip(b"\0 \r\n").decode("ascii", "replace").upper().split()
    if len(words) != 2 or words[0] != "AUTHENTICATE":
        raise DecodeError("expected AUTHENTICATE and a mechanism")
    return words[1]


def message_in(line: bytes, *, encoded: bool) -> bytes:
    """A mechanism's message out of its line."""
    return unbase64(line.strip(b"\0 \r\n")) if encoded else line


def welcome(terms: SessionTerms) -> bytes:
    """What an authenticated client is told: to go on, or where else to go."""
    if not terms.brokers:
        return Status.SUCCESS.line()
    return b"%d Redirection\r\n%s" % (
        REDIRECTION + Status.SUCCESS,
        encode(_list_of(terms.brokers)),
    )


def _list_of(brokers: Sequence[str]) -> Tunnel:
    return Tunnel(action=Action.LIST, type="broker", brokers=tuple(brokers))
