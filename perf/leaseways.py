"""How the clients of a bench reach a lease server: TCP, TLS and UDP, with little work."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
from typing import TYPE_CHECKING, Final, Protocol, Self

from dstmrouter.protocols.record_marking import HEADER_LEN, LAST, mark
from dstmrouter.protocols.tsp_datagram import Datagram
from perf.gateway import TEP6

if TYPE_CHECKING:
    import ssl
    from ipaddress import IPv6Address

SERVER: Final = str(TEP6)
PATIENCE_S: Final = 2.0
TRIES: Final = 5
NUMBER_LEN: Final = 4  # octets in front of a datagram: the xid of RPC, the sequence number of TSP
_LENGTH: Final = re.compile(rb"Content-length: (\d+)\r\n")


class Way(Protocol):
    """An open way to the server."""

    async def ask(self, message: bytes) -> bytes:
        """Send `message` and return its answer."""

    async def tell(self, message: bytes) -> None:
        """Send `message`, which has no answer."""

    def close(self) -> None:
        """Hang up."""


class Opened(Protocol):
    """Opens a way from the address of a client."""

    async def __call__(self, client6: IPv6Address) -> Way:
        """Connect."""


class Stream(asyncio.Protocol):
    """TSP over TCP or TLS: lines, and bodies with a length; one answer at a time."""

    def __init__(self) -> None:
        self._octets = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls, port: int, client6: IPv6Address, *, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Connect from `client6`."""
        loop = asyncio.get_running_loop()
        local = (str(client6), 0)
        _, way = await loop.create_connection(cls, SERVER, port, ssl=tls, local_addr=local)
        return way

    async def ask(self, message: bytes) -> bytes:
        """Send `message` and return its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        await self.tell(message)
        return await self._answer

    async def tell(self, message: bytes) -> None:
        """Send `message`."""
        assert self._transport is not None
        self._transport.write(message)

    def close(self) -> None:
        """Close."""
        assert self._transport is not None
        self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the way out."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Give the answer to who waits for it, once it is whole."""
        self._octets += data
        if self._answer is not None and self.is_whole(self._octets):
            self._answer.set_result(self._octets)
            self._octets, self._answer = b"", None

    def connection_lost(self, error: Exception | None) -> None:
        """Fail who waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed by the server"))

    @staticmethod
    def is_whole(octets: bytes) -> bool:
        """Whether this is all of an answer."""
        found = _LENGTH.match(octets)
        if found is None:
            return octets.endswith(b"\n")  # a line
        return len(octets) == found.end() + int(found[1])


class Records(Stream):
    """RPC over TCP: records of one fragment."""

    async def ask(self, message: bytes) -> bytes:
        """Send `message` and return its answer."""
        return (await super().ask(mark(message)))[HEADER_LEN:]

    @staticmethod
    def is_whole(octets: bytes) -> bool:
        """Whether this is all of a record."""
        size = int.from_bytes(octets[:HEADER_LEN], "big") & ~LAST
        return len(octets) == HEADER_LEN + size


class Datagrams(asyncio.DatagramProtocol):
    """UDP: one message, one answer, which begins with the same number; sent again if need be."""

    def __init__(self) -> None:
        self._number = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, port: int, client6: IPv6Address) -> Self:
        """Make a socket at `client6`."""
        _, way = await asyncio.get_running_loop().create_datagram_endpoint(
            cls, (str(client6), 0), (SERVER, port), family=socket.AF_INET6
        )
        return way

    async def ask(self, message: bytes) -> bytes:
        """Send `message` and return its answer."""
        assert self._transport is not None
        self._number = message[:NUMBER_LEN]
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answer = answer
        for _ in range(TRIES):
            self._transport.sendto(message)
            done, _ = await asyncio.wait({answer}, timeout=PATIENCE_S)
            if done:
                return answer.result()
        raise TimeoutError(f"no answer to {TRIES} datagrams")

    async def tell(self, message: bytes) -> None:
        """Send `message`; a datagram is always answered."""
        await self.ask(message)

    def close(self) -> None:
        """Close."""
        assert self._transport is not None
        self._transport.close()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep the way out."""
        self._transport = transport

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Give the answer to who waits for it."""
        if self._answer is not None and data.startswith(self._number):
            self._answer.set_result(data)
            self._answer = None


class Numbered(Datagrams):
    """TSP over UDP: a sequence number before each message."""

    def __init__(self) -> None:
        super().__init__()
        self._sequence = itertools.count(1)

    async def ask(self, message: bytes) -> bytes:
        """Send `message` and return its answer."""
        asked = Datagram(next(self._sequence), 0, message).encode()
        return Datagram.decode(await super().ask(asked)).payload
