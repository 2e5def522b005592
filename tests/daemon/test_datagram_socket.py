from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.datagram_socket import (
    DATAGRAM_MAX,
    Datagram,
    DatagramSocket,
    DatagramTally,
)
from dstmrouter.errors import SystemCallError
from lab.netns import PATIENCE_S
from tests.daemon.rpc_hosts import OTHER6, SERVER6, hosts
from tests.daemon.server_process import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dstmrouter.daemon.tally import Tally

LOOPBACK = IPv6Address("::1")


class Echo:
    """A socket that sends everything back, backwards."""

    def __init__(self, address: IPv6Address = LOOPBACK) -> None:
        self.counts: collections.Counter[Tally] = collections.Counter()
        self.received: list[Datagram] = []
        self.socket = DatagramSocket(address, 0, self._answer, counts=self.counts)

    def _answer(self, datagram: Datagram) -> None:
        self.received.append(datagram)
        datagram.reply(datagram.octets[::-1])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.socket.start()
        try:
            yield
        finally:
            self.socket.close()


@contextlib.contextmanager
def peer_of(echo: Echo, address: IPv6Address = LOOPBACK) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as peer:
        peer.connect((str(address), echo.socket.port))
        yield peer


async def answer(peer: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 65_536), PATIENCE_S)


def test_an_answer_goes_back() -> None:
    async def scenario() -> None:
        echo = Echo()
        with peer_of(echo) as peer:
            async with echo.running():
                peer.send(b"abc")
                assert await answer(peer) == b"cba"
                (datagram,) = echo.received
                assert (datagram.address, datagram.port) == (LOOPBACK, peer.getsockname()[1])

    asyncio.run(scenario())


def test_too_long_and_many_at_once() -> None:
    async def scenario() -> None:
        echo = Echo()
        with peer_of(echo) as peer:
            peer.send(bytes(DATAGRAM_MAX + 1))
            for _ in range(100):
                peer.send(b"x")
            async with echo.running():
                await until(lambda: len(echo.received) == 100, "all that fit")
                assert echo.counts[DatagramTally.TOO_LONG] == 1
                assert echo.counts[DatagramTally.RECEIVED] == 101

    asyncio.run(scenario())


def test_an_answer_after_the_end_is_counted() -> None:
    async def scenario() -> None:
        echo = Echo()
        with peer_of(echo) as peer:
            async with echo.running():
                peer.send(b"abc")
                await answer(peer)
            echo.received[0].reply(b"late")
            assert echo.counts[DatagramTally.UNSENT] == 1
            echo.socket.close()

    asyncio.run(scenario())


def test_an_icmp_error_about_an_answer_ends_nothing() -> None:
    async def scenario() -> None:
        echo = Echo()
        async with echo.running():
            with peer_of(echo) as gone:
                gone.send(b"abc")
            await until(lambda: len(echo.received) == 1, "a datagram whose sender is gone")
            with peer_of(echo) as peer:
                peer.send(b"def")
                assert await answer(peer) == b"fed"

    asyncio.run(scenario())


@pytest.mark.netns
def test_answers_leave_from_the_address_that_was_asked() -> None:
    async def scenario() -> None:
        echo = Echo(IPv6Address("::"))
        async with echo.running():
            for address in (SERVER6, OTHER6):
                with peer_of(echo, address) as peer:  # connected: takes answers from there alone
                    peer.send(b"abc")
                    assert await answer(peer) == b"cba"

    with hosts() as space, space.entered():
        asyncio.run(scenario())


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(SystemCallError, match=r"bind\(\[2001:db8:ffff::1\]:0\): Cannot assign"):
        Echo(IPv6Address("2001:db8:ffff::1"))
