"""One authenticated client of the TSP server over UDP: a session whose octets come in datagrams."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols.tsp_state import Ending

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from dstmrouter.daemon.tsp_desk import Desk
    from dstmrouter.protocols.tsp_datagram import Datagram
    from dstmrouter.protocols.tsp_session import Session

REMEMBERED: Final = 8
"""Answers kept to be sent again. Clients have one message under way at a time."""

IDLE_S: Final = 60.0
"""When a client is gone whose lease needs nothing more from it."""


class Visit:
    """The client at `address`, since its datagram `last`.

    `waiting` are messages that it will fetch by empty datagrams.
    """

    def __init__(
        self,
        address: IPv6Address,
        last: Datagram,
        session: Session,
        desk: Desk,
        waiting: Iterable[bytes],
    ) -> None:
        self.address = address
        self._last = last
        self.session = session
        self.busy = False
        self._desk = desk
        self._waiting = deque(waiting)
        self._answers: OrderedDict[int, bytes] = OrderedDict()
        self._heard = time.monotonic()

    def answer_again(self, datagram: Datagram) -> bytes | None:
        """The answer that this message had; None for a new one, or one that is too old."""
        return self._answers.get(datagram.sequence)

    def is_new(self, datagram: Datagram) -> bool:
        """Whether a message comes after all that were answered: an old one is not done again."""
        return datagram.follows(self._last)

    def is_left_by(self, datagram: Datagram) -> bool:
        """Whether a VERSION shows that the client has begun again: it is no late copy."""
        return datagram.was_sent_after(self._last)

    def answer_next(self, datagram: Datagram) -> bytes:
        """The next thing to say, which is the answer to this message; may be nothing."""
        answer = self._waiting.popleft() if self._waiting else b""
        self._last = datagram
        self._answers[datagram.sequence] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    async def take(self, message: bytes) -> None:
        """Carry out a message, whole as it is in its datagram.

        Some clients count a last line end that they do not send; where it is not missing, another
        one does no harm.
        """
        self._heard = time.monotonic()
        session = self.session
        session.receive_data(message + b"\r\n")
        while not session.closed:
            request = session.next_event(time.monotonic())
            if request is None:
                break
            await self._desk.carry_out(session, request)
        if not session.closed and not session.complete:
            session.reject_octets("a datagram with half a message")
        self._waiting.extend(chunk.data for chunk in session.chunks())
        if session.closed and session.ending is not Ending.SHUT_DOWN:
            await self._desk.leave()

    def is_over(self, now: float) -> bool:
        """Whether the client is gone, or was too slow."""
        if self.busy:
            return False
        self.session.expire(now)
        return self.session.ending is Ending.TIMED_OUT or now - self._heard > IDLE_S

    async def leave(self) -> None:
        """The client is gone: take back what it has not accepted."""
        await self._desk.leave()
