"""TSP over UDP: datagrams to the doorway or to the visit they belong to, and answers back.

Answers leave from the address that was asked, also where the host has several: clients with
connected sockets see no other.
"""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from dstmrouter.daemon.tsp_counters import Count
from dstmrouter.daemon.tsp_desk import Desk
from dstmrouter.daemon.tsp_tasks import PeerTasks
from dstmrouter.daemon.tsp_visit import Visit
from dstmrouter.errors import DecodeError
from dstmrouter.protocols.tsp_datagram import DATAGRAM_LIMIT, Datagram, may_answer
from dstmrouter.protocols.tsp_frame import frame
from dstmrouter.protocols.tsp_session import Session, SessionTerms, welcome
from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_status import Status

if TYPE_CHECKING:
    from dstmrouter.daemon.tsp_admission import Admission
    from dstmrouter.daemon.tsp_counters import TspCounters
    from dstmrouter.daemon.tsp_desk import Office
    from dstmrouter.protocols.tsp_doorway import Doorway, Entry

Peer: TypeAlias = tuple[str, int, int, int]
Ancillary: TypeAlias = list[tuple[int, int, bytes]]
Key: TypeAlias = tuple[IPv6Address, int]

log = structlog.get_logger(__name__)

BATCH: Final = 64  # datagrams taken before other work has its turn
SWEEP_S: Final = 1.0
PACKET_INFO_LEN: Final = 20  # struct in6_pktinfo, RFC 3542 section 6.1
PADDING: Final = b"\0\r\n"


class Letter:
    """A datagram that came, and the way back."""

    def __init__(self, octets: bytes, ancillary: Ancillary, peer: Peer) -> None:
        self.datagram = Datagram.decode(octets)
        self.asked = len(octets)
        self.ancillary = ancillary
        self.peer = peer
        self.address = IPv6Address(peer[0].partition("%")[0])
        self.key: Key = (self.address, peer[1])
        self.source = self.address.packed + peer[1].to_bytes(2, "big")


class TspDatagrams:
    """One UDP socket; `doorway` is for clients that have not authenticated."""

    def __init__(
        self,
        bound: socket.socket,
        doorway: Doorway,
        office: Office,
        terms: SessionTerms,
        admission: Admission,
    ) -> None:
        self._socket = bound
        self._doorway = doorway
        self._office = office
        self._terms = terms
        self._admission = admission
        self._counters: TspCounters = office.counters
        self._visits: dict[Key, Visit] = {}
        self._tasks = PeerTasks()
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._readable)
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                self._sweep(time.monotonic())
        finally:
            loop.remove_reader(self._socket)
            self._socket.close()
            await self._tasks.cancel()

    def stop(self) -> None:
        """Promise nothing more; what was offered runs out by itself."""
        for visit in self._visits.values():
            visit.session.close(Ending.SHUT_DOWN, "")

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                octets, ancillary, _, peer = self._socket.recvmsg(
                    DATAGRAM_LIMIT + 1, socket.CMSG_SPACE(PACKET_INFO_LEN)
                )
            except OSError:  # empty, or an ICMPv6 error about an answer
                return
            self._receive(octets, ancillary, peer)

    def _receive(self, octets: bytes, ancillary: Ancillary, peer: Peer) -> None:
        try:
            letter = Letter(octets, ancillary, peer)
        except DecodeError:
            self._counters.count(Count.MALFORMED_DATAGRAMS)
            return
        if not self._admission.may_ask(letter.address, time.monotonic()):
            self._counters.count(Count.DROPPED_RATE)
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
        self._counters.count(Count.REPEATED_DATAGRAMS)
        if answer is not None:
            self._send(letter, answer, proved=bool(visit.session.identity))
        return True

    def _answer_stranger(self, letter: Letter, message: bytes) -> None:
        """Nothing for nothing; a request from somebody unknown makes it begin again."""
        if message:
            self._counters.count(Count.STRANGERS)
            self._send(letter, frame(Status.AUTHENTICATION_FAILED.line()))
        else:
            self._send(letter, b"")

    def _enter(self, letter: Letter) -> None:
        message = letter.datagram.payload
        entry = self._doorway.answer(message, letter.source, time.monotonic())
        if entry is None:
            self._counters.count(Ending.MALFORMED)
            self._send(letter, Status.BAD_REQUEST.line())
        elif entry.identity is not None:
            self._begin(letter, entry, entry.identity)
        else:
            if entry.ending is not None:
                self._counters.count(entry.ending)
            self._send(letter, entry.payloads[0] if entry.payloads else b"")

    def _begin(self, letter: Letter, entry: Entry, identity: str) -> None:
        """Begin a visit, in place of an earlier one from the same address and port."""
        former = self._visits.pop(letter.key, None)
        if former is not None:
            self._end(former)
        if not self._admission.enter(letter.address):
            self._counters.count(Count.DROPPED_FULL)
            self._send(letter, Status.BUSY.line())
            return
        self._counters.count(Count.UDP_DIALOGUES)
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
            self._counters.count(visit.session.ending)
        self._tasks.start(visit.leave())

    def _send(self, letter: Letter, payload: bytes, *, proved: bool = False) -> None:
        octets = letter.datagram.answer(payload).encode()
        allowed = proved or may_answer(letter.asked, len(octets))
        if not allowed or len(octets) > DATAGRAM_LIMIT:
            self._counters.count(Count.CUT_ANSWERS)
            octets = letter.datagram.answer(b"").encode()
        try:
            self._socket.sendmsg([octets], letter.ancillary, 0, letter.peer)
        except OSError as error:  # full queue, no route: as good as lost on the way
            log.debug("answer not sent", client6=str(letter.address), reason=str(error))
