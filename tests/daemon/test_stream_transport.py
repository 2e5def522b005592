"""The transport over a pair of sockets, with a small send buffer."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.stream_connection import Connection, Peer
from dstmrouter.daemon.stream_transport import READ_LEN, SocketTransport
from lab.netns import PATIENCE_S
from tests.daemon.server_process import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PEER = Peer(IPv6Address("::1"), 4321)
LONG = bytes(range(256)) * 4096  # more than any buffer here


class Setting:
    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        theirs.setblocking(False)
        self.theirs = theirs
        self.connection = Connection(PEER, collections.Counter())
        self.transport = SocketTransport(ours, self.connection)

    async def read(self, count: int) -> bytes:
        loop, found = asyncio.get_running_loop(), b""
        while len(found) < count and (octets := await loop.sock_recv(self.theirs, 65_536)):
            found += octets
        return found


def paired(scenario: Callable[[Setting], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        with contextlib.closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as server:
            theirs = socket.create_connection(server.getsockname()[:2])
            ours, _ = server.accept()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        setting = Setting(ours, theirs)
        async with asyncio.timeout(PATIENCE_S):
            await scenario(setting)
        setting.transport.abort()
        theirs.close()

    asyncio.run(run())


def test_octets_both_ways() -> None:
    async def scenario(setting: Setting) -> None:
        setting.theirs.send(b"hello")
        assert await setting.connection.receive() == b"hello"
        await setting.connection.send(b"world")
        assert await setting.read(5) == b"world"

    paired(scenario)


def test_what_nobody_asks_for_stays_in_the_kernel() -> None:
    async def scenario(setting: Setting) -> None:
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(setting.theirs, LONG))
        await until(lambda: setting.connection._paused, "a pause")
        assert len(setting.connection._octets) <= 2 * READ_LEN
        found = b""
        while len(found) < len(LONG):
            found += await setting.connection.receive(1000)
        assert found == LONG
        await sending

    paired(scenario)


def test_a_long_answer_is_sent_bit_by_bit() -> None:
    async def scenario(setting: Setting) -> None:
        sending = asyncio.create_task(setting.connection.send(LONG))
        await asyncio.sleep(0)
        assert setting.transport.get_write_buffer_size() > 0
        setting.transport.write(b"end")
        assert await setting.read(len(LONG) + 3) == LONG + b"end"
        await sending
        assert setting.transport.get_write_buffer_size() == 0

    paired(scenario)


def test_closing_sends_the_rest_and_takes_nothing_more() -> None:
    async def scenario(setting: Setting) -> None:
        setting.transport.write(LONG)
        closing = asyncio.create_task(setting.connection.close())
        await asyncio.sleep(0)
        assert setting.transport.is_closing()
        setting.transport.write(b"late")
        setting.transport.resume_reading()
        setting.transport.close()
        assert await setting.read(len(LONG) + 1) == LONG
        await closing

    paired(scenario)


def test_aborting_does_not_send_the_rest() -> None:
    async def scenario(setting: Setting) -> None:
        setting.transport.write(LONG)
        setting.transport.abort()
        setting.transport.abort()
        assert await setting.connection.receive() == b""
        with contextlib.suppress(ConnectionResetError):
            assert len(await setting.read(len(LONG))) < len(LONG)

    paired(scenario)


def test_a_peer_that_has_said_everything_still_listens() -> None:
    async def scenario(setting: Setting) -> None:
        setting.theirs.send(b"bye")
        setting.theirs.shutdown(socket.SHUT_WR)
        assert await setting.connection.receive() == b"bye"
        assert await setting.connection.receive() == b""
        await setting.connection.send(b"bye")
        await setting.connection.close()
        assert await setting.read(4) == b"bye"

    paired(scenario)


def reset(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


def test_a_reset_is_an_error_for_who_reads() -> None:
    async def scenario(setting: Setting) -> None:
        reset(setting.theirs)
        with pytest.raises(ConnectionResetError):
            await setting.connection.receive()

    paired(scenario)


def test_a_reset_is_an_error_for_who_writes() -> None:
    async def scenario(setting: Setting) -> None:
        reset(setting.theirs)
        setting.transport.pause_reading()
        setting.transport.write(b"hello")
        with pytest.raises(OSError, match=r"reset|Broken"):
            await setting.connection.send(b"again")

    paired(scenario)
