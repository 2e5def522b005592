"""A listener on ::1 that repeats lines, for tests."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Coroutine
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from dstmrouter.daemon.admission import NO_LIMIT, Admission
from dstmrouter.daemon.stream_connection import Connection
from dstmrouter.daemon.stream_listener import StreamListener, bind_stream
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from dstmrouter.daemon.tally import Tally
    from dstmrouter.leases.rate import Rate

LOOPBACK = IPv6Address("::1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    connections: int = 3
    per_source: int = 2
    rate: Rate = NO_LIMIT
    idle_s: float = 60


LIMITS = Limits()
Serve = Callable[[Connection], Coroutine[Any, Any, None]]


def echo(idle_s: float) -> Serve:
    async def serve(connection: Connection) -> None:
        """Answers every line."""
        line = b""
        connection.deadline = time.monotonic() + idle_s
        while octets := await connection.receive():
            line += octets
            if line.endswith(b"\n"):
                await connection.send(line)
                connection.deadline = time.monotonic() + idle_s
                line = b""

    return serve


class Echo:
    """A listener on ::1, and connections to it."""

    def __init__(
        self,
        limits: Limits = LIMITS,
        serve: Serve | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.counts: collections.Counter[Tally] = collections.Counter()
        self.admission = Admission(
            total=limits.connections, per_source=limits.per_source, rate=limits.rate
        )
        self.listener = StreamListener(
            [bind_stream(LOOPBACK, 0)],
            serve or echo(limits.idle_s),
            admission=self.admission,
            counts=self.counts,
            tls=tls,
        )
        (self.port,) = self.listener.ports

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.listener.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.listener.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("::1", self.port)

    async def talk(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bytes:
        writer.write(b"hello\n")
        return await reader.readline()


def with_echo(
    scenario: Callable[[Echo], Coroutine[Any, Any, None]],
    limits: Limits = LIMITS,
    serve: Serve | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> None:
    async def run() -> None:
        server = Echo(limits, serve, tls)
        async with asyncio.timeout(PATIENCE_S), server.running():
            await scenario(server)

    asyncio.run(run())


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of the connection, in order or not."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True
