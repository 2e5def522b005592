"""The Tunnel Setup Protocol of `dstm-server`: its listeners, and who may ask over which of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import resource
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.daemon.admission import Admission
from dstmrouter.daemon.datagram_socket import DatagramTally
from dstmrouter.daemon.stream_connection import Connection, StreamTally
from dstmrouter.daemon.stream_listener import StreamListener, bind_stream
from dstmrouter.daemon.tally import tally_rows
from dstmrouter.daemon.tsp_desk import Desk, Office
from dstmrouter.daemon.tsp_stream import converse
from dstmrouter.daemon.tsp_tally import TspTally
from dstmrouter.daemon.tsp_tls import TlsServer, identity_of
from dstmrouter.daemon.tsp_udp import TspDatagrams
from dstmrouter.daemon.tsp_users import Users
from dstmrouter.leases.rate import Rate
from dstmrouter.protocols import sasl
from dstmrouter.protocols.sasl_digest import DigestServer
from dstmrouter.protocols.sasl_scram import ScramServer
from dstmrouter.protocols.tsp_doorway import Doorway
from dstmrouter.protocols.tsp_session import Session, SessionTerms
from dstmrouter.protocols.tsp_state import Ending

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from dstmrouter.config.server import ServerConfig
    from dstmrouter.config.tsp import TspSection
    from dstmrouter.daemon.lending import Lender
    from dstmrouter.leases.book import LeaseBook

log = structlog.get_logger(__name__)

NONCE_OCTETS: Final = 18
OTHER_DESCRIPTORS: Final = 256  # for store, feed and control


class TspServer:
    """All TSP of one server run; binds when made, serves in `run`."""

    def __init__(
        self, section: TspSection, config: ServerConfig, lender: Lender, book: LeaseBook
    ) -> None:
        self._section = section
        self._users = Users(section.users_file)
        self._office = _office(section, config, lender, book)
        self._counts = self._office.counts
        self._terms = SessionTerms(
            accept_s=float(config.lease.offer_s),
            brokers=section.brokers if section.redirect == "always" else (),
        )
        self._admission = Admission(
            total=section.sessions,
            per_source=section.per_64,
            rate=Rate(per_s=section.requests_per_s, burst=section.burst),
        )
        self._attempts = self._mechanisms(section.mechanisms, None)
        self._tls = TlsServer(section.tls) if section.tls is not None else None
        self._sessions: set[Session] = set()
        with contextlib.ExitStack() as undo:
            self._plain = (
                self._stream_listener(undo, section.port, tls=None) if section.tcp else None
            )
            self._private = (
                self._stream_listener(undo, self._tls.section.port, tls=self._tls)
                if self._tls is not None
                else None
            )
            self._datagrams = [
                self._datagram_listener(undo, address) for address in section.listen if section.udp
            ]
            self._undo = undo.pop_all()

    def _stream_listener(
        self, undo: contextlib.ExitStack, port: int, *, tls: TlsServer | None
    ) -> StreamListener:
        bound = []
        for address in self._section.listen:
            bound.append(bind_stream(address, port))
            undo.callback(bound[-1].close)
        return StreamListener(
            bound,
            self._serve_plain if tls is None else self._serve_private,
            admission=self._admission,
            counts=self._counts,
            tls=None if tls is None else tls.context,
        )

    def _datagram_listener(self, undo: contextlib.ExitStack, address: IPv6Address) -> TspDatagrams:
        names = [
            name
            for name in self._section.mechanisms
            if name != sasl.ANONYMOUS or self._section.anonymous_udp
        ]
        doorway = Doorway(
            self._mechanisms(names, None),
            self._users,
            realm=self._section.realm,
            key=secrets.token_bytes(32),
        )
        # A client that falls silent has not closed anything.
        office = dataclasses.replace(self._office, release_on_close=False)
        listen = (address, self._section.port)
        datagrams = TspDatagrams(listen, doorway, office, self._terms, self._admission)
        undo.callback(datagrams.close)
        return datagrams

    async def run(self) -> None:
        """Serve until cancelled."""
        make_room(self._section.sessions)
        async with asyncio.TaskGroup() as tasks:
            for listener in (self._plain, self._private, *self._datagrams):
                if listener is not None:
                    tasks.create_task(listener.run())

    def stop(self) -> None:
        """Promise nothing more; what was offered runs out by itself."""
        for session in self._sessions:
            session.close(Ending.SHUT_DOWN, "")
        for datagrams in self._datagrams:
            datagrams.stop()

    def close(self) -> None:
        """Close all sockets; a second call does nothing."""
        self._undo.close()

    def reload(self) -> None:
        """Read users and certificates again, for new sessions; ConfigError: what is wrong."""
        self._users.reload()
        if self._tls is not None:
            self._tls.reload()

    def describe(self) -> dict[str, Any]:
        """Sessions, ports and counters, for status."""
        kinds = (TspTally, StreamTally, DatagramTally)
        return {
            "tsp_sessions": len(self._admission),
            "tsp_tcp": self._plain.ports if self._plain is not None else [],
            "tsp_tls": self._private.ports if self._private is not None else [],
            "tsp_udp": [datagrams.port for datagrams in self._datagrams],
            "tsp": [row for kind in kinds for row in tally_rows(kind, self._counts)],
        }

    async def _serve_plain(self, connection: Connection) -> None:
        await self._serve(connection, self._attempts)

    async def _serve_private(self, connection: Connection) -> None:
        assert self._tls is not None
        certificate = identity_of(connection.certificate)
        names = [
            name
            for name in self._tls.section.mechanisms
            if name != sasl.EXTERNAL or certificate is not None
        ]
        await self._serve(connection, self._mechanisms(names, certificate))

    async def _serve(self, connection: Connection, attempts: sasl.Attempts) -> None:
        address = connection.address
        session = Session(self._terms, attempts, now=time.monotonic())
        self._sessions.add(session)
        try:
            desk = Desk(self._office, address)
            await converse(connection, session, desk, lambda: self._may_ask(address))
        finally:
            self._sessions.discard(session)
            if session.ending is not None:
                self._counts[TspTally[session.ending.name]] += 1
                log.info(
                    "dialogue ended",
                    client6=str(address),
                    by=session.ending.name.lower(),
                    reason=session.why,
                )

    def _may_ask(self, address: IPv6Address) -> bool:
        allowed = self._admission.may_ask(address, time.monotonic())
        if not allowed:
            self._counts[TspTally.DROPPED_RATE] += 1
        return allowed

    def _mechanisms(self, names: Iterable[str], certificate: str | None) -> sasl.Attempts:
        """Ways to authenticate, in the order of the configuration."""
        realm, users = self._section.realm, self._users
        every: sasl.Attempts = {
            sasl.SCRAM_SHA_256: lambda: ScramServer(users, new_nonce().encode("ascii")),
            sasl.DIGEST_MD5: lambda: DigestServer(users, realm, new_nonce()),
            sasl.PLAIN: lambda: sasl.Plain(users),
            sasl.ANONYMOUS: sasl.Anonymous,
            sasl.EXTERNAL: lambda: sasl.External(certificate),
        }
        return {name: every[name] for name in names}


def _office(section: TspSection, config: ServerConfig, lender: Lender, book: LeaseBook) -> Office:
    return Office(
        lender=lender,
        book=book,
        tep4=config.tep.tep4,
        tep6=config.tep.tep6[0],  # where feeds put every binding
        keepalive_s=(section.keepalive_min_s, section.keepalive_max_s),
        release_on_close=section.release_on_close,
        brokers=section.brokers,
    )


def make_room(sessions: int) -> None:
    """Let this process have a descriptor for each session; if it may not, the log says so."""
    wanted = sessions + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    allowed = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("fewer sessions than configured", descriptors=allowed, wanted=wanted)


def check_files(section: TspSection) -> None:
    """ConfigError if users or certificates cannot be used."""
    Users(section.users_file)
    if section.tls is not None:
        TlsServer(section.tls)


def new_nonce() -> str:
    """Text that nobody can guess."""
    return secrets.token_urlsafe(NONCE_OCTETS)
