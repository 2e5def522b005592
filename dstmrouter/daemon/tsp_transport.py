"""How a TSP client's messages travel: TCP, TLS or UDP, behind the same three calls.

`send` takes messages, `receive` waits for octets of the server, `flush` returns when what was sent
is on its way (over UDP: has been answered). Every failure is a `SourceError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from dstmrouter.daemon.answers import open_datagrams
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.errors import DecodeError
from dstmrouter.protocols.tsp_datagram import Datagram, Retransmission

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from dstmrouter.daemon.answers import Answers

CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0  # a server may wait for its routers before it answers
RECEIVE_LIMIT: Final = 4096
EMPTY_LIMIT: Final = 3  # empty answers in a row when something was expected
FIRST_SEQUENCES: Final = 1 << 16


class SilentError(SourceError):
    """The server says nothing, and the connection is there."""


class Transport(Protocol):
    """An open way to one server."""

    async def send(self, messages: Iterable[bytes]) -> None:
        """Hand over messages."""

    async def receive(self, within_s: float = ANSWER_S) -> bytes:
        """Wait for octets; never empty. SilentError if none come in that time."""

    async def flush(self) -> None:
        """Return when everything handed over is gone."""

    async def close(self) -> None:
        """Close; harmless when repeated."""


class StreamTransport:
    """TCP, with TLS or without."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(
        cls, host: str, port: int, client6: IPv6Address, tls: ssl.SSLContext | None
    ) -> StreamTransport:
        """Connect from `client6`; the server's certificate must be for `host`."""
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    host,
                    port,
                    family=socket.AF_INET6,
                    local_addr=(str(client6), 0),
                    ssl=tls,
                    server_hostname=host if tls is not None else None,
                )
        except TimeoutError:
            raise SourceError(f"no connection in {CONNECT_S:g} s") from None
        except OSError as error:  # names that are not found and TLS, too
            raise SourceError(f"no connection: {error}") from None
        return cls(reader, writer)

    async def send(self, messages: Iterable[bytes]) -> None:
        """Write messages, each by itself."""
        for message in messages:
            self._writer.write(message)

    async def receive(self, within_s: float = ANSWER_S) -> bytes:
        """Wait for octets."""
        try:
            async with asyncio.timeout(within_s):
                await self._writer.drain()
                data = await self._reader.read(RECEIVE_LIMIT)
        except TimeoutError:
            raise SilentError(f"no answer in {within_s:g} s") from None
        except OSError as error:
            raise SourceError(f"connection lost: {error}") from None
        if not data:
            raise SourceError("the server closed the connection")
        return data

    async def flush(self) -> None:
        """Return when the kernel has it."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise SourceError(f"connection lost: {error}") from None

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await self._writer.wait_closed()


class DatagramTransport:
    """UDP: one message, one answer, sent again until the answer comes."""

    def __init__(self, transport: asyncio.DatagramTransport, answers: Answers) -> None:
        self._transport = transport
        self._answers = answers
        self._waiting: deque[bytes] = deque()
        self._sequence = secrets.randbelow(FIRST_SEQUENCES)
        self._timer = Retransmission()

    @classmethod
    async def connect(cls, host: str, port: int, client6: IPv6Address) -> DatagramTransport:
        """Open a socket at `client6`; nothing is sent yet."""
        try:
            transport, answers = await open_datagrams(host, port, client6)
        except OSError as error:
            raise SourceError(f"no connection: {error}") from None
        return cls(transport, answers)

    async def send(self, messages: Iterable[bytes]) -> None:
        """Keep messages until somebody waits for their answers."""
        self._waiting.extend(messages)

    async def receive(self, within_s: float = ANSWER_S) -> bytes:  # noqa: ARG002
        """Send the next message and wait for its answer; empty messages fetch what is left."""
        for _ in range(EMPTY_LIMIT + len(self._waiting)):
            answer = await self._exchange(self._waiting.popleft() if self._waiting else b"")
            if answer:
                return answer
        raise SourceError("the server answers with nothing")

    async def flush(self) -> None:
        """Send what is left; what is answered to it does not matter."""
        while self._waiting:
            await self._exchange(self._waiting.popleft())

    async def close(self) -> None:
        """Close the socket."""
        self._transport.close()

    async def _exchange(self, message: bytes) -> bytes:
        self._sequence += 1
        began = time.monotonic()
        for sent in range(1, self._timer.tries + 1):
            stamp = int(time.monotonic() * 1000) & 0xFFFFFFFF
            self._transport.sendto(Datagram(self._sequence, stamp, message).encode())
            answer = await self._answer(self._timer.wait_s(sent))
            if answer is not None:
                if sent == 1:  # of a message sent twice nobody knows which was answered
                    self._timer.measured(time.monotonic() - began)
                return answer
        raise SourceError(f"no answer to {self._timer.tries} datagrams")

    async def _answer(self, wait_s: float) -> bytes | None:
        """The answer to the last message; what answers others is left aside."""
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    found = Datagram.decode(await self._answers.next())
                    if found.sequence == self._sequence & 0x0FFFFFFF:
                        return found.payload
        except (TimeoutError, DecodeError):
            return None
        except OSError as error:
            raise SourceError(f"no answer: {error}") from None
