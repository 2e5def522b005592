"""TSP over UDP: datagrams to the doorway or to the visit they belong to, and answers back."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, TypeAlias

from dstmrouter.daemon.datagram_socket import DatagramSocket
from dstmrouter.daemon.peer_tasks import PeerTasks
from dstmrouter.daemon.tsp_desk import Desk
from dstmrouter.daemon.tsp_tally import TspTally
from dstmrouter.daemon.tsp_visit import Visit
from dstmrouter.errors import DecodeError
from dstmrouter.protocols.tsp_datagram import DATAGRAM_LIMIT, Datagram, may_answer
from dstmrouter.protocols.tsp_frame import frame
from dstmrouter.protocols.tsp_session import Session, SessionTerms, welcome
from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_status import Status

if TYPE_CHECKING:
    from dstmrouter.daemon import datagram_socket
    from dstmrouter.daemon.admission import Admission
    from dstmrouter.daemon.tsp_desk import Office
    from dstmrouter.protocols.tsp_doorway import Doorway, Entry

Key: TypeAlias = tuple[IPv6Address, int]

SWEEP_S: Final = 1.0
PADDING: Final = b"\0\r\n"


class Letter:
    """A datagram that came, and the way back."""

    def __init__(self, came: datagram_socket.Datagram) -> None:
        self.datagram = Datagram.decode(came.octets)
        self.asked = len(came.octets)
        self.reply = came.reply
        self.address = came.address
        self.key: Key = (came.address, came.port)
        self.source = came.address.packed + came.port.to_bytes(2, "big")


class TspDatagrams:
    """One UDP socket; `doorway` is for clients that have not authenticated."""

    def __init__(
        self,
        listen: tuple[IPv6Address, int],
        doorway: Doorway,
        office: Office,
        terms: SessionTerms,
        admission: Admission,
    ) -> None:
        self._socket = DatagramSocket(*listen, self._receive, counts=office.counts)
        self._doorway = doorway
        self._office = office
        self._terms = terms
        self._admission = admission
        self._counts = office.counts
        self._visits: dict[Key, Visit] = {}
        self._tasks = PeerTasks()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._socket.port

    async def run(self) -> None:
        """Answer until cancelled."""
        self._socket.start()
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                self._sweep(time.monotonic())
        finally:
            self.close()
            await self._tasks.cancel()

    def stop(self) -> None:
        """Promise nothing more; what was offered runs out by itself."""
        for visit in self._visits.values():
            visit.session.close(Ending.SHUT_DOWN, "")

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def _receive(self, came: datagram_socket.Datagram) -> None:
        try:
            letter = Letter(came)
        except DecodeError:
            self._counts[TspTally.MALFORMED_DATAGRAMS] += 1
            return
        if not self._admission.may_ask(letter.address, time.monotonic()):
            self._counts[TspTally.DROPPED_RATE] += 1
            return
        message = letter.datagram.payload.strip(PADDING)
        if message[:8].upper() == b"VERSION=":
            self._leave(letter)
        visit = self._visits.get(letter.key)
        entering = bool(message) and message[:14].lower() != b"content-length"
        if visit is not None and self._is_repeated(visit, letter, entering=entering):
            return
        if entering:
            self._enter(letter)
        elif visit is not None:
            self._work(visit, letter)
        else:
            self._answer_stranger(letter, message)

    def _leave(self, letter: Letter) -> None:
        """End the visit of a client that begins again from the same port."""
        visit = self._visits.get(letter.key)
        if visit is not None and not visit.busy and visit.is_left_by(letter.datagram):
            self._end(self._visits.pop(letter.key))

    def _is_repeated(self, visit: Visit, letter: Letter, *, entering: bool) -> bool:
        """Answer a message that came again, or wait for its answer, which is under way.

        An old request whose answer is forgotten must not be carried out again, say a delete.
        """
        answer = visit.answer_again(letter.datagram)
        old = not entering and not visit.is_new(letter.datagram)
        if answer is None and not visit.busy and not old:
            return False
        self._counts[TspTally.REPEATED_DATAGRAMS] += 1
        if answer is not None:
            self._send(letter, answer, proved=bool(visit.session.identity))
        return True

    def _answer_stranger(self, letter: Letter, message: bytes) -> None:
        """Nothing for nothing; a request from somebody unknown makes it begin again."""
        if message:
            self._counts[TspTally.STRANGERS] += 1
            self._send(letter, frame(Status.AUTHENTICATION_FAILED.line()))
        else:
            self._send(letter, b"")

    def _enter(self, letter: Letter) -> None:
        message = letter.datagram.payload
        entry = self._doorway.answer(message, letter.source, time.monotonic())
        if entry is None:
            self._counts[TspTally.MALFORMED] += 1
            self._send(letter, Status.BAD_REQUEST.line())
        elif entry.identity is not None:
            self._begin(letter, entry, entry.identity)
        else:
            if entry.ending is not None:
                self._counts[TspTally[entry.ending.name]] += 1
            self._send(letter, entry.payloads[0] if entry.payloads else b"")

    def _begin(self, letter: Letter, entry: Entry, identity: str) -> None:
        """Begin a visit, in place of an earlier one from the same address and port."""
        former = self._visits.pop(letter.key, None)
        if former is not None:
            self._end(former)
        if self._admission.enter(letter.address) is not None:
            self._counts[TspTally.DROPPED_FULL] += 1
            self._send(letter, Status.BUSY.line())
            return
        self._counts[TspTally.UDP_DIALOGUES] += 1
        session = Session(self._terms, {}, now=time.monotonic(), identity=identity)
        if self._terms.brokers:
            session.close(Ending.REDIRECTED, "")
        waiting = (*entry.payloads, welcome(self._terms))
        desk = Desk(self._office, letter.address)
        visit = Visit(letter.address, letter.datagram, session, desk, waiting)
        self._visits[letter.key] = visit
        self._send(letter, visit.answer_next(letter.datagram), proved=bool(identity))

    def _work(self, visit: Visit, letter: Letter) -> None:
        visit.busy = True
        self._tasks.start(self._carry_out(visit, letter))

    async def _carry_out(self, visit: Visit, letter: Letter) -> None:
        try:
            await visit.take(letter.datagram.payload)
        finally:
            visit.busy = False
        answer = visit.answer_next(letter.datagram)
        self._send(letter, answer, proved=bool(visit.session.identity))

    def _sweep(self, now: float) -> None:
        """Forget clients that are gone."""
        over = [key for key, visit in self._visits.items() if visit.is_over(now)]
        for key in over:
            self._end(self._visits.pop(key))

    def _end(self, visit: Visit) -> None:
        self._admission.leave(visit.address)
        if visit.session.ending is not None:
            self._counts[TspTally[visit.session.ending.name]] += 1
        self._tasks.start(visit.leave())

    def _send(self, letter: Letter, payload: bytes, *, proved: bool = False) -> None:
        octets = letter.datagram.answer(payload).encode()
        allowed = proved or may_answer(letter.asked, len(octets))
        if not allowed or len(octets) > DATAGRAM_LIMIT:
            self._counts[TspTally.CUT_ANSWERS] += 1
            octets = letter.datagram.answer(b"").encode()
        letter.reply(octets)
