"""TCP over IPv6 for any protocol of clients: who may connect, for how long, with how much memory.

A protocol is one coroutine over one `Connection`. It reads and writes; this module sees to it that
a hostile peer costs a counter. A connection is accepted, weighed by `Admission` and perhaps dropped
before it costs a TLS handshake or a session. A peer must ask within the time that the protocol
sets, and must take an answer within `SEND_S`. One connection holds at most `RECEIVE_BUFFER` octets
of input and one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from asyncio import sslproto
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import structlog

from dstmrouter.daemon.peer_tasks import PeerTasks
from dstmrouter.daemon.tally import Tally
from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    import collections
    import ssl
    from collections.abc import Awaitable, Callable

    from dstmrouter.daemon.admission import Admission

log = structlog.get_logger(__name__)

SEND_S: Final = 10.0  # as long as TCP retransmits three times
HANDSHAKE_S: Final = 10.0
READ_LEN: Final = 4096
RECEIVE_BUFFER: Final = 16_384  # octets, SO_RCVBUF: asyncio reads all that the kernel holds
TLS_BUFFER: Final = 16_384  # octets, a record; asyncio's 256 kB are 2.6 GB for 10,000 sessions
BACKLOG: Final = 256
PAUSE_S: Final = 0.1  # after an accept that failed, most likely for want of descriptors
STREAM_OPTIONS: Final = {  # connections inherit them
    (socket.SOL_SOCKET, socket.SO_REUSEADDR): 1,  # TIME_WAIT of the last run
    (socket.SOL_SOCKET, socket.SO_RCVBUF): RECEIVE_BUFFER,
    # A peer that vanished holds its place for three minutes, not for a lease.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 120,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 6,
}


class StreamTally(Tally):
    """What became of connections."""

    OPENED = "connections", "TCP connections accepted"
    REFUSED_TOTAL = "connections-over-total", "closed at once: as many as allowed are open"
    REFUSED_SOURCE = "connections-over-source", "closed at once: too many from this /64"
    REFUSED_RATE = "connections-over-rate", "closed at once: this /64 asks too often"
    NO_TLS = "connections-without-tls", "closed: the TLS handshake failed"
    IDLE = "connections-idle", "closed: no complete request in time"
    SLOW = "connections-slow", "closed: did not take an answer in time"
    BROKEN = "connections-broken", "reset by the peer or the network"
    FAILED = "connections-failed", "ended through our own fault; the log has more"


class Peer(NamedTuple):
    """Who has connected."""

    address: IPv6Address
    port: int


class PeerDroppedError(ConnectionError):
    """We do not wait for this peer any longer; it is counted already."""


class Connection:
    """One peer; `receive` and `send` raise ConnectionError when it is gone, or to be dropped.

    `deadline` is when it must have sent something, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        peer: Peer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        counts: collections.Counter[Tally],
    ) -> None:
        self.address, self.port = peer
        self.deadline: float | None = None
        self._reader = reader
        self._writer = writer
        self._counts = counts
        # `send` returns when the kernel has it all: nothing piles up for who does not read.
        writer.transport.set_write_buffer_limits(high=0)

    @property
    def certificate(self) -> dict[str, Any]:
        """What the peer's certificate says, as `SSLSocket.getpeercert`; empty without one."""
        return self._writer.get_extra_info("peercert") or {}

    async def receive(self, limit: int = READ_LEN) -> bytes:
        """The next octets, at most `limit`; none: the peer has sent everything."""
        await asyncio.sleep(0)  # what is there already is read without waiting: others must run too
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self._reader.read(limit)
        except TimeoutError:
            self._counts[StreamTally.IDLE] += 1
            raise PeerDroppedError from None

    async def send(self, octets: bytes) -> None:
        """Return when the kernel has taken `octets`."""
        self._writer.write(octets)
        if not self._writer.transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()
        except TimeoutError:
            self._counts[StreamTally.SLOW] += 1
            raise PeerDroppedError from None

    def abort(self) -> None:
        """Close at once; what the kernel does not have yet is lost."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close in order: the kernel still delivers what it has."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):  # a peer that does not end its TLS
            async with asyncio.timeout(SEND_S):
                await self._writer.wait_closed()


Serve: TypeAlias = "Callable[[Connection], Awaitable[None]]"
"""Speaks the protocol; returns to end the connection. ConnectionErrors may pass through."""


class StreamListener:
    """Accepts on `sockets`, which become its own, while `run` runs.

    `tls` is asked at every connection, so that a new certificate needs no restart; None: no TLS.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        serve: Serve,
        *,
        admission: Admission,
        counts: collections.Counter[Tally],
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._sockets = sockets
        self._serve = serve
        self._admission = admission
        self._counts = counts
        self._tls = tls
        self._tasks = PeerTasks()
        if tls is not None:
            sslproto.SSLProtocol.max_size = TLS_BUFFER

    @property
    def ports(self) -> list[int]:
        """Where it listens."""
        return [listening.getsockname()[1] for listening in self._sockets]

    async def run(self) -> None:
        """Serve until cancelled; connections end with it."""
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)
        try:
            await loop.create_future()
        finally:
            for listening in self._sockets:
                loop.remove_reader(listening)
            self.close()
            await self._tasks.cancel()

    def close(self) -> None:
        """Close the sockets; a second call does nothing."""
        for listening in self._sockets:
            listening.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                accepted, name = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):  # no more, or the peer has gone
                return
            except OSError as error:
                log.warning("cannot accept", reason=str(error))
                self._pause(listening)
                return
            self._weigh(accepted, Peer(IPv6Address(name[0]), name[1]))

    def _pause(self, listening: socket.socket) -> None:
        def resume() -> None:
            if listening.fileno() >= 0:  # not closed meanwhile
                loop.add_reader(listening, self._accept, listening)

        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(PAUSE_S, resume)

    def _weigh(self, accepted: socket.socket, peer: Peer) -> None:
        """Begin a connection, or drop it without a word."""
        if not self._admission.may_ask(peer.address, time.monotonic()):
            refused: StreamTally | None = StreamTally.REFUSED_RATE
        else:
            refused = self._admission.enter(peer.address)
        self._counts[refused or StreamTally.OPENED] += 1
        if refused is None:
            self._tasks.start(self._run_connection(accepted, peer))
        else:
            accepted.close()

    async def _run_connection(self, accepted: socket.socket, peer: Peer) -> None:
        try:
            connection = await self._begin(accepted, peer)
            if connection is not None:
                await self._serve_to_the_end(connection)
        finally:
            self._admission.leave(peer.address)

    async def _begin(self, accepted: socket.socket, peer: Peer) -> Connection | None:
        """The connection, with TLS where that is wanted; None: that has failed."""
        reader = asyncio.StreamReader(READ_LEN)
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(reader)
        accepted.setblocking(False)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls() if self._tls is not None else None,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls is not None else None,
            )
        except (OSError, TimeoutError) as error:  # of TLS, too
            self._counts[StreamTally.NO_TLS] += 1
            log.info("no TLS", peer=str(peer.address), reason=str(error))
            return None
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return Connection(peer, reader, writer, self._counts)

    async def _serve_to_the_end(self, connection: Connection) -> None:
        try:
            await self._serve(connection)
            await connection.close()
        except PeerDroppedError:
            pass
        except OSError:
            self._counts[StreamTally.BROKEN] += 1
        except Exception:  # one connection must never end the process
            self._counts[StreamTally.FAILED] += 1
            log.exception("connection failed", peer=str(connection.address))
        finally:
            connection.abort()


def bind_stream(address: IPv6Address, port: int) -> socket.socket:
    """A TCP socket that listens on `address` and `port` (0: a free one); else SystemCallError.

    Who connects before `run` waits for it.
    """
    listening = bind_ipv6(socket.SOCK_STREAM, address, port)
    listening.listen(BACKLOG)
    return listening


def bind_ipv6(kind: socket.SocketKind, address: IPv6Address, port: int) -> socket.socket:
    """A socket for IPv6 alone, not blocking."""
    bound = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            for option, value in STREAM_OPTIONS.items():
                bound.setsockopt(*option, value)
        bound.bind((str(address), port))
    except OSError as error:
        bound.close()
        tried = f"bind([{address}]:{port})"
        raise SystemCallError(tried, error.errno or 0, error.strerror or str(error)) from None
    return bound
