from __future__ import annotations

import asyncio
import contextlib
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.tsp_admission import Admission
from dstmrouter.daemon.tsp_counters import Count, TspCounters
from dstmrouter.daemon.tsp_listener import TspListener, bind6
from dstmrouter.errors import SystemCallError
from tests.daemon.server_process import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = IPv6Address("::1")


class Echo:
    """A listener whose connections repeat one line."""

    def __init__(self, *, sessions: int = 2, burst: int = 100) -> None:
        self.counters = TspCounters()
        self.kept_alive = 0
        self.admission = Admission(
            sessions=sessions, sessions_per_64=sessions, requests_per_s=0.1, burst=burst
        )
        bound = bind6(socket.SOCK_STREAM, HERE, 0)
        self.listener = TspListener(
            bound, self.serve, admission=self.admission, counters=self.counters
        )

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: IPv6Address
    ) -> None:
        assert address == HERE
        accepted = writer.get_extra_info("socket")
        self.kept_alive = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        line = await reader.readline()
        if line == b"break\n":
            raise ConnectionResetError
        writer.write(line)

    async def ask(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("::1", self.listener.port)
        writer.write(line)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.listener.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


def test_connections_are_served_and_leave() -> None:
    async def scenario() -> None:
        echo = Echo()
        async with echo.running():
            assert await echo.ask(b"one\n") == b"one\n"
            assert echo.kept_alive
            assert await echo.ask(b"break\n") == b""
            await until(lambda: not echo.admission.sessions, "the end of both")
        assert echo.counters[Count.CONNECTIONS] == 2

    asyncio.run(scenario())


def test_too_many_are_dropped() -> None:
    async def scenario() -> None:
        echo = Echo(sessions=1)
        async with echo.running():
            _, first = await asyncio.open_connection("::1", echo.listener.port)
            await until(lambda: echo.admission.sessions, "the first")
            assert await echo.ask(b"two\n") == b""
            first.close()
            await until(lambda: not echo.admission.sessions, "its end")
            assert await echo.ask(b"three\n") == b"three\n"
        assert echo.counters[Count.DROPPED_FULL] == 1

    asyncio.run(scenario())


def test_too_often_is_dropped() -> None:
    async def scenario() -> None:
        echo = Echo(burst=2)
        async with echo.running():
            assert [await echo.ask(b"x\n") for _ in range(4)] == [b"x\n", b"x\n", b"", b""]
        assert echo.counters[Count.DROPPED_RATE] == 2

    asyncio.run(scenario())


def test_its_end_ends_all_connections() -> None:
    async def scenario() -> None:
        echo = Echo()
        async with echo.running():
            reader, writer = await asyncio.open_connection("::1", echo.listener.port)
            await until(lambda: echo.admission.sessions, "the connection")
        assert await reader.read() == b""
        writer.close()
        assert echo.admission.sessions == 0

    asyncio.run(scenario())


def test_a_port_in_use_is_named() -> None:
    with contextlib.closing(bind6(socket.SOCK_STREAM, HERE, 0)) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(
            SystemCallError, match=rf"bind\(\[::1\]:{port}\): Address already in use"
        ):
            bind6(socket.SOCK_STREAM, HERE, port)
