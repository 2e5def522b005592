"""TCP over IPv6 for any protocol of clients: who may connect, for how long, with how much memory.

A protocol is one coroutine over one `Connection`. It reads and writes; this module sees to it that
a hostile peer costs a counter. A connection is accepted, weighed by `Admission` and perhaps dropped
before it costs a TLS handshake or a session. A peer must ask within the time that the protocol
sets, and must take an answer within `SEND_S`. One connection holds at most `RECEIVE_BUFFER` octets
of input in the kernel, two times `READ_LEN` here, and one answer.
"""

from __future__ import annotations

import asyncio
import socket
import time
from asyncio import sslproto
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from dstmrouter.binding import told6
from dstmrouter.daemon.peer_tasks import PeerTasks
from dstmrouter.daemon.stream_connection import (
    Connection,
    Peer,
    PeerDroppedError,
    StreamTally,
)
from dstmrouter.daemon.stream_transport import SocketTransport
from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    import collections
    import ssl
    from collections.abc import Awaitable, Callable
    from ipaddress import IPv6Address

    from dstmrouter.daemon.admission import Admission
    from dstmrouter.daemon.tally import Tally

log = structlog.get_logger(__name__)

HANDSHAKE_S: Final = 10.0
RECEIVE_BUFFER: Final = 16_384  # octets, SO_RCVBUF
TLS_BUFFER: Final = 16_384  # octets, a record; asyncio's 256 kB are 2.6 GB for 10,000 sessions
BACKLOG: Final = 256
PAUSE_S: Final = 0.1  # after an accept that failed, most likely for want of descriptors
STREAM_OPTIONS: Final = {  # connections inherit them
    (socket.SOL_SOCKET, socket.SO_REUSEADDR): 1,  # TIME_WAIT of the last run
    (socket.SOL_SOCKET, socket.SO_RCVBUF): RECEIVE_BUFFER,
    # A peer that vanished holds its place for three minutes, not for a lease.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,  # a second message never waits for the first
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 120,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 6,
}


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
            self._weigh(accepted, Peer(told6(name[0]), name[1]))

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
        connection = Connection(peer, self._counts)
        if self._tls is None:
            SocketTransport(accepted, connection)
            return connection
        accepted.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls(),
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        except (OSError, TimeoutError) as error:
            self._counts[StreamTally.NO_TLS] += 1
            log.info("no TLS", peer=str(peer.address), reason=str(error))
            return None
        return connection

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
