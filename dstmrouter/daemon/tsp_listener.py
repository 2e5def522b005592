"""Listens for TSP connections, with or without TLS, and keeps their number within limits.

Limits come first: a connection is accepted, weighed and perhaps dropped before it costs a TLS
handshake or a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.daemon.tsp_counters import Count
from dstmrouter.daemon.tsp_tasks import PeerTasks
from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from dstmrouter.daemon.tsp_admission import Admission
    from dstmrouter.daemon.tsp_counters import TspCounters

log = structlog.get_logger(__name__)

BACKLOG: Final = 256
READ_LIMIT: Final = 4096  # asyncio keeps up to twice as much of what was not read yet
HANDSHAKE_S: Final = 10.0
KEEPALIVE: Final = {  # a client that vanished holds its session for three minutes, not for a lease
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 120,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 6,
}
PAUSE_S: Final = 0.1  # after an accept that failed, most likely for want of descriptors


def bind6(kind: socket.SocketKind, address: IPv6Address, port: int) -> socket.socket:
    """An IPv6 socket that does not take IPv4; SystemCallError says why there is none."""
    found = socket.socket(socket.AF_INET6, kind)
    try:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setblocking(False)
        found.bind((str(address), port))
    except OSError as error:
        found.close()
        tried = f"bind([{address}]:{port})"
        raise SystemCallError(tried, error.errno or 0, error.strerror or str(error)) from None
    return found


class TspListener:
    """One listening socket; `serve` has a connection until it is over.

    `tls` is asked at every connection, so that a new certificate needs no restart; None: no TLS.
    """

    def __init__(
        self,
        bound: socket.socket,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter, IPv6Address], Awaitable[None]],
        *,
        admission: Admission,
        counters: TspCounters,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._socket = bound
        self._serve = serve
        self._admission = admission
        self._counters = counters
        self._tls = tls
        self._tasks = PeerTasks()
        bound.listen(BACKLOG)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    async def run(self) -> None:
        """Accept until cancelled; ends all connections then."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    accepted, peer = await loop.sock_accept(self._socket)
                except OSError as error:
                    log.warning("cannot accept", reason=str(error))
                    await asyncio.sleep(PAUSE_S)
                    continue
                self._weigh(accepted, IPv6Address(peer[0].partition("%")[0]))
        finally:
            self._socket.close()
            await self._tasks.cancel()

    def _weigh(self, accepted: socket.socket, address: IPv6Address) -> None:
        """Begin a connection, or drop it without a word."""
        if not self._admission.may_ask(address, time.monotonic()):
            self._counters.count(Count.DROPPED_RATE)
        elif not self._admission.enter(address):
            self._counters.count(Count.DROPPED_FULL)
        else:
            self._counters.count(Count.CONNECTIONS)
            self._tasks.start(self._connection(accepted, address))
            return
        accepted.close()

    async def _connection(self, accepted: socket.socket, address: IPv6Address) -> None:
        try:
            reader, writer = await self._begin(accepted)
        except (OSError, TimeoutError) as error:  # of TLS, too
            accepted.close()
            self._counters.count(Count.DROPPED_TLS)
            log.info("no TLS", client6=str(address), reason=str(error))
            self._admission.leave(address)
            return
        try:
            await self._serve(reader, writer, address)
        except OSError as error:
            log.debug("connection lost", client6=str(address), reason=str(error))
        finally:
            self._admission.leave(address)
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(HANDSHAKE_S):
                    await writer.wait_closed()

    async def _begin(
        self, accepted: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(READ_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        accepted.setblocking(False)
        for option, value in KEEPALIVE.items():
            accepted.setsockopt(*option, value)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=self._tls() if self._tls is not None else None,
            ssl_handshake_timeout=HANDSHAKE_S if self._tls is not None else None,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
