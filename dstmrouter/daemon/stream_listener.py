"""TCP over IPv6 for any protocol of clients: who may connect, for how long, with how much memory.

A protocol is one coroutine over one `Connection`. It reads and writes; this module sees to it that
a hostile peer costs a counter: connections are limited in total and for each /64 (what one customer
site has), a peer must finish a request within `idle_s`, and must take an answer within `SEND_S`.
One connection holds at most `RECEIVE_BUFFER` octets of input and one answer.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from dstmrouter.daemon.tally import Tally
from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

SEND_S: Final = 10.0  # as long as TCP retransmits three times
READ_LEN: Final = 4096
RECEIVE_BUFFER: Final = 16_384  # octets, SO_RCVBUF: asyncio reads all that the kernel holds
BACKLOG: Final = 128


class StreamTally(Tally):
    """What became of connections."""

    OPENED = "connections", "TCP connections accepted"
    REFUSED_TOTAL = "connections-over-total", "closed at once: as many as allowed are open"
    REFUSED_SOURCE = "connections-over-source", "closed at once: too many from this /64"
    IDLE = "connections-idle", "closed: no complete request in time"
    SLOW = "connections-slow", "closed: did not take an answer in time"
    BROKEN = "connections-broken", "reset by the peer or the network"
    FAILED = "connections-failed", "ended through our own fault; the log has more"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What peers may take of us."""

    connections: int
    per_source: int  # of one /64
    idle_s: float


class PeerDroppedError(ConnectionError):
    """We do not wait for this peer any longer; it is counted already."""


class Connection:
    """One peer; `receive` and `send` raise ConnectionError when it is gone, or to be dropped."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: StreamLimits,
        counts: collections.Counter[Tally],
    ) -> None:
        host, self.port = writer.get_extra_info("peername")[:2]
        self.address = IPv6Address(host)
        self._reader = reader
        self._writer = writer
        self._idle_s = limits.idle_s
        self._counts = counts
        # `send` returns when the kernel has it all: nothing piles up for who does not read.
        writer.transport.set_write_buffer_limits(high=0)
        self.progress()

    @property
    def source(self) -> int:
        """The /64 of the peer."""
        return int(self.address) >> 64

    def progress(self) -> None:
        """Tell that a request is complete and answered: the time for the next one begins."""
        self._deadline = asyncio.get_running_loop().time() + self._idle_s

    async def receive(self) -> bytes:
        """The next octets, at most `READ_LEN`; none: the peer has sent everything."""
        await asyncio.sleep(0)  # what is there already is read without waiting: others must run too
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._reader.read(READ_LEN)
        except TimeoutError:
            self._counts[StreamTally.IDLE] += 1
            raise PeerDroppedError from None

    async def send(self, octets: bytes) -> None:
        """Return when the kernel has taken `octets`."""
        self._writer.write(octets)
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
        await self._writer.wait_closed()


Serve: TypeAlias = "Callable[[Connection], Awaitable[None]]"
"""Speaks the protocol; returns to end the connection. ConnectionErrors may pass through."""


class StreamListener:
    """Accepts on `sockets`, which become its own, while `run` runs."""

    def __init__(
        self,
        sockets: list[socket.socket],
        serve: Serve,
        *,
        limits: StreamLimits,
        counts: collections.Counter[Tally],
    ) -> None:
        self._sockets = sockets
        self._serve = serve
        self._limits = limits
        self._counts = counts
        self._sources: collections.Counter[int] = collections.Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    async def run(self) -> None:
        """Serve until cancelled; connections end with it."""
        servers: list[asyncio.Server] = []
        try:
            for listening in self._sockets:
                servers.append(  # noqa: PERF401 - each one must be closed, also if the next fails
                    await asyncio.start_server(
                        self._accept, sock=listening, backlog=BACKLOG, limit=READ_LEN
                    )
                )
            await asyncio.get_running_loop().create_future()
        finally:
            self._ended = True
            for server in servers:
                server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Close the sockets; a second call does nothing."""
        for listening in self._sockets:
            listening.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._ended:  # asyncio had accepted it already
            writer.transport.abort()
            return
        connection = Connection(reader, writer, self._limits, self._counts)
        refused = self._refusal(connection)
        if refused is not None:
            self._counts[refused] += 1
            connection.abort()
            return
        self._counts[StreamTally.OPENED] += 1
        self._sources[connection.source] += 1
        task = asyncio.create_task(self._run_connection(connection))
        self._tasks.add(task)
        # Not in the task: one that is cancelled before its first step runs no `finally`.
        task.add_done_callback(functools.partial(self._forget, connection))

    def _refusal(self, connection: Connection) -> StreamTally | None:
        if len(self._tasks) >= self._limits.connections:
            return StreamTally.REFUSED_TOTAL
        if self._sources[connection.source] >= self._limits.per_source:
            return StreamTally.REFUSED_SOURCE
        return None

    async def _run_connection(self, connection: Connection) -> None:
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

    def _forget(self, connection: Connection, task: asyncio.Task[None]) -> None:
        connection.abort()
        self._tasks.discard(task)
        self._sources[connection.source] -= 1
        if not self._sources[connection.source]:
            del self._sources[connection.source]


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
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT of the last run
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        bound.bind((str(address), port))
    except OSError as error:
        bound.close()
        tried = f"bind([{address}]:{port})"
        raise SystemCallError(tried, error.errno or 0, error.strerror or str(error)) from None
    return bound
