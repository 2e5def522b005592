from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dstmrouter.daemon import stream_listener
from dstmrouter.daemon.stream_listener import (
    Connection,
    StreamLimits,
    StreamListener,
    StreamTally,
    bind_stream,
)
from dstmrouter.errors import SystemCallError
from tests.daemon.server_process import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from dstmrouter.daemon.tally import Tally

LOOPBACK = IPv6Address("::1")
LIMITS = StreamLimits(connections=3, per_source=2, idle_s=60)


async def echo(connection: Connection) -> None:
    """Answers every line."""
    line = b""
    while octets := await connection.receive():
        line += octets
        if line.endswith(b"\n"):
            await connection.send(line)
            connection.progress()
            line = b""


class Echo:
    """A listener on ::1, and connections to it."""

    def __init__(
        self,
        limits: StreamLimits,
        serve: Callable[[Connection], Coroutine[Any, Any, None]] = echo,
    ) -> None:
        self.counts: collections.Counter[Tally] = collections.Counter()
        bound = bind_stream(LOOPBACK, 0)
        self.port: int = bound.getsockname()[1]
        self.listener = StreamListener([bound], serve, limits=limits, counts=self.counts)

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
    limits: StreamLimits = LIMITS,
    serve: Callable[[Connection], Coroutine[Any, Any, None]] = echo,
) -> None:
    async def run() -> None:
        server = Echo(limits, serve)
        async with asyncio.timeout(20), server.running():
            await scenario(server)

    asyncio.run(run())


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of the connection, in order or not."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


def test_a_connection_is_served_until_the_peer_ends_it() -> None:
    async def scenario(server: Echo) -> None:
        reader, writer = await server.connect()
        assert await server.talk(writer, reader) == b"hello\n"
        writer.write_eof()
        assert await is_closed(reader)
        writer.close()
        await until(lambda: not server.listener._tasks, "the end of the connection")
        assert server.counts == {StreamTally.OPENED: 1}
        assert not server.listener._sources

    with_echo(scenario)


def test_too_many_of_one_source_are_closed_at_once() -> None:
    async def scenario(server: Echo) -> None:
        kept = [await server.connect() for _ in range(2)]
        for reader, writer in kept:
            assert await server.talk(writer, reader) == b"hello\n"
        reader, refused = await server.connect()
        assert await is_closed(reader)
        assert server.counts[StreamTally.REFUSED_SOURCE] == 1
        for _, writer in [*kept, (reader, refused)]:
            writer.close()
        await until(lambda: not server.listener._tasks, "room")
        reader, writer = await server.connect()
        assert await server.talk(writer, reader) == b"hello\n"
        writer.close()

    with_echo(scenario)


def test_too_many_in_total_are_closed_at_once() -> None:
    async def scenario(server: Echo) -> None:
        first, writer = await server.connect()
        assert await server.talk(writer, first) == b"hello\n"
        second, refused = await server.connect()
        assert await is_closed(second)
        assert server.counts[StreamTally.REFUSED_TOTAL] == 1
        for open_writer in (writer, refused):
            open_writer.close()

    with_echo(scenario, StreamLimits(connections=1, per_source=2, idle_s=60))


@pytest.mark.parametrize("drip", [False, True])
def test_a_peer_that_never_finishes_a_request_is_dropped(drip: bool) -> None:
    async def scenario(server: Echo) -> None:
        reader, writer = await server.connect()
        while drip and not server.counts[StreamTally.IDLE]:
            writer.write(b"x")
            await asyncio.sleep(0.01)
        assert await is_closed(reader)
        assert server.counts[StreamTally.IDLE] == 1
        writer.close()

    with_echo(scenario, StreamLimits(connections=1, per_source=1, idle_s=0.1))


def test_a_peer_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_listener, "SEND_S", 0.1)

    async def flood(connection: Connection) -> None:
        while True:
            await connection.send(bytes(65_536))

    async def scenario(server: Echo) -> None:
        reader, writer = await server.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: server.counts[StreamTally.SLOW], "the peer to be dropped")
        await until(lambda: not server.listener._tasks, "the end of the connection")
        writer.close()
        del reader

    with_echo(scenario, serve=flood)


def test_a_reset_is_counted() -> None:
    async def scenario(server: Echo) -> None:
        reader, writer = await server.connect()
        assert await server.talk(writer, reader) == b"hello\n"
        linger_0 = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
        writer.close()
        await until(lambda: server.counts[StreamTally.BROKEN], "the reset")

    with_echo(scenario)


def test_a_mistake_of_ours_ends_one_connection_and_is_logged() -> None:
    async def broken(connection: Connection) -> None:
        await connection.receive()
        raise ZeroDivisionError

    async def scenario(server: Echo) -> None:
        for _ in range(2):
            reader, writer = await server.connect()
            writer.write(b"x")
            assert await is_closed(reader)
            writer.close()
        assert server.counts[StreamTally.FAILED] == 2

    with capture_logs() as logs:
        with_echo(scenario, serve=broken)
    assert [entry["event"] for entry in logs] == ["connection failed"] * 2


def test_the_end_of_the_listener_is_the_end_of_its_connections() -> None:
    async def run() -> None:
        server = Echo(LIMITS)
        async with server.running():
            reader, writer = await server.connect()
            assert await server.talk(writer, reader) == b"hello\n"
        assert await is_closed(reader)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("::1", server.port)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_connection_that_comes_at_the_very_end_is_closed_too() -> None:
    async def run() -> None:
        server = Echo(LIMITS)
        async with server.running():
            reader, writer = await server.connect()
        assert await is_closed(reader)
        writer.close()
        assert not server.listener._sources

    asyncio.run(asyncio.wait_for(run(), 20))


def test_an_address_that_is_taken_or_not_ours() -> None:
    with contextlib.closing(bind_stream(LOOPBACK, 0)) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(SystemCallError, match=rf"bind\(\[::1\]:{port}\): Address already in"):
            bind_stream(LOOPBACK, port)
    with pytest.raises(SystemCallError, match="Cannot assign requested address"):
        bind_stream(IPv6Address("2001:db8:ffff::1"), 0)
