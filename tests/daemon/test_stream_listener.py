from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from dstmrouter.daemon import stream_connection, stream_listener
from dstmrouter.daemon.stream_connection import Connection, StreamTally
from dstmrouter.daemon.stream_listener import bind_stream
from dstmrouter.errors import SystemCallError
from dstmrouter.leases.rate import Rate
from lab.netns import PATIENCE_S
from tests.daemon.certificates import Authority
from tests.daemon.server_process import until
from tests.daemon.stream_echo import LOOPBACK, Echo, Limits, is_closed, with_echo

if TYPE_CHECKING:
    from pathlib import Path


def test_a_connection_is_served_until_the_peer_ends_it() -> None:
    async def scenario(server: Echo) -> None:
        reader, writer = await server.connect()
        assert await server.talk(writer, reader) == b"hello\n"
        writer.write_eof()
        assert await is_closed(reader)
        writer.close()
        await until(lambda: not server.listener._tasks, "the end of the connection")
        assert server.counts == {StreamTally.OPENED: 1}
        assert len(server.admission) == 0

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

    with_echo(scenario, Limits(connections=1, per_source=2, idle_s=60))


def test_too_often_is_closed_at_once() -> None:
    async def scenario(server: Echo) -> None:
        for expected in (b"hello\n", b"hello\n", b"", b""):
            reader, writer = await server.connect()
            with contextlib.suppress(ConnectionResetError):
                assert await server.talk(writer, reader) == expected
            writer.close()
            await until(lambda: not server.listener._tasks, "its end")
        assert server.counts[StreamTally.OPENED] == 2
        assert server.counts[StreamTally.REFUSED_RATE] == 2

    with_echo(scenario, Limits(rate=Rate(per_s=0.01, burst=2)))


def test_a_peer_that_vanishes_will_be_noticed() -> None:
    found = []

    async def look(connection: Connection) -> None:
        accepted = connection.transport.get_extra_info("socket")
        found.append(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        found.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    async def scenario(server: Echo) -> None:
        reader, writer = await server.connect()
        assert await is_closed(reader)
        writer.close()

    with_echo(scenario, serve=look)
    assert found == [1, 120]


def test_limits_come_before_tls_and_a_bad_handshake_is_counted(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path).sign("server", "IP:::1"))
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    asked = []

    def tls() -> ssl.SSLContext:
        asked.append(True)
        return context

    async def scenario(server: Echo) -> None:
        reader, writer = await asyncio.open_connection("::1", server.port, ssl=trusting)
        assert await server.talk(writer, reader) == b"hello\n"
        long = bytes(10 * stream_listener.TLS_BUFFER) + b"\n"
        writer.write(long)
        assert await reader.readexactly(len(long)) == long
        _, refused = await server.connect()
        await until(lambda: server.counts[StreamTally.REFUSED_TOTAL], "the refusal")
        assert len(asked) == 1
        writer.close()
        refused.close()
        await until(lambda: not server.listener._tasks, "room")
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        await until(lambda: server.counts[StreamTally.NO_TLS], "the handshake")
        writer.close()
        await until(lambda: not len(server.admission), "room")

    with_echo(scenario, Limits(connections=1), tls=tls)


def test_without_descriptors_it_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(socket.socket):
        """A listening socket that fails once."""

        failed = False

        def accept(self) -> tuple[socket.socket, Any]:
            if self.failed:
                return super().accept()
            self.failed = True
            raise OSError(errno.EMFILE, "Too many open files")

    async def run() -> None:
        server = Echo()
        (bound,) = server.listener._sockets
        server.listener._sockets = [Exhausted(fileno=bound.detach())]
        async with server.running():
            reader, writer = await server.connect()
            assert await server.talk(writer, reader) == b"hello\n"
            writer.close()

    monkeypatch.setattr(stream_listener, "PAUSE_S", 0.01)
    with capture_logs() as logs:
        asyncio.run(asyncio.wait_for(run(), PATIENCE_S))
    assert [entry["event"] for entry in logs] == ["cannot accept"]


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

    with_echo(scenario, Limits(connections=1, per_source=1, idle_s=0.1))


def test_a_peer_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_connection, "SEND_S", 0.1)

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
        server = Echo()
        async with server.running():
            reader, writer = await server.connect()
            assert await server.talk(writer, reader) == b"hello\n"
        assert await is_closed(reader)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("::1", server.port)

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def test_a_connection_that_comes_at_the_very_end_is_closed_too() -> None:
    async def run() -> None:
        server = Echo()
        async with server.running():
            reader, writer = await server.connect()
        assert await is_closed(reader)
        writer.close()
        assert len(server.admission) == 0

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def test_an_address_that_is_taken_or_not_ours() -> None:
    with contextlib.closing(bind_stream(LOOPBACK, 0)) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(SystemCallError, match=rf"bind\(\[::1\]:{port}\): Address already in"):
            bind_stream(LOOPBACK, port)
    with pytest.raises(SystemCallError, match="Cannot assign requested address"):
        bind_stream(IPv6Address("2001:db8:ffff::1"), 0)
