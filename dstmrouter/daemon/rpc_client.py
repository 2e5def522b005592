"""The calling side of ONC RPC: a call over TCP, UDP or a UNIX socket, and what can come of it.

There is no deadline here: put `asyncio.timeout` around it. Over UDP a call is sent again and again
with the same xid, so the server's duplicate request cache does it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from typing import TYPE_CHECKING, Final, Protocol

from dstmrouter.daemon.answers import open_datagrams
from dstmrouter.errors import DecodeError, DstmError
from dstmrouter.protocols.oncrpc import (
    Accepted,
    AcceptStat,
    Call,
    Reply,
    RpcMismatch,
    decode_reply,
    encode_call,
)
from dstmrouter.protocols.record_marking import RecordAssembler, mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from ipaddress import IPv6Address
    from pathlib import Path

    from dstmrouter.daemon.answers import Answers

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 8.0
READ_LEN: Final = 4096


class RpcError(DstmError):
    """The call was not done; `permanent`: nor will it be if it is made again."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class Transport(Protocol):
    """A way to one server."""

    async def exchange(self, call: bytes, xid: int) -> Reply:
        """Send a call and wait for its reply; RpcError, DecodeError or OSError if there is none."""
        ...


async def call_procedure(
    transport: Transport, program: int, version: int, procedure: int, arguments: bytes
) -> bytes:
    """The results of a procedure; errors as those of `exchange`."""
    xid = secrets.randbits(32)
    call = Call(xid=xid, program=program, version=version, procedure=procedure, arguments=arguments)
    reply = await transport.exchange(encode_call(call), xid)
    if isinstance(reply, Accepted) and reply.stat is AcceptStat.SUCCESS:
        return reply.results
    raise _failure(reply)


def _failure(reply: Reply) -> RpcError:
    if isinstance(reply, Accepted):
        versions = " to ".join(map(str, reply.versions or ()))
        text = f"{reply.stat.name}{versions and ', it has '}{versions}"
        return RpcError(text, permanent=reply.stat is not AcceptStat.SYSTEM_ERR)
    if isinstance(reply, RpcMismatch):
        return RpcError(f"RPC_MISMATCH, it has {reply.low} to {reply.high}", permanent=True)
    return RpcError(f"AUTH_ERROR, {reply.stat.name}", permanent=True)


def reason_of(error: OSError) -> str:
    """The kernel's words, without asyncio's around them; errors of a resolver are its own."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error)


class StreamTransport:
    """Calls over a connection, one at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._assembler = RecordAssembler()

    async def exchange(self, call: bytes, xid: int) -> Reply:
        """Send a call and wait for its reply."""
        self._writer.write(mark(call))
        await self._writer.drain()
        while octets := await self._reader.read(READ_LEN):
            for record in self._assembler.receive(octets):
                reply = decode_reply(record)
                if reply.xid == xid:
                    return reply
        raise RpcError("the connection was closed")


@contextlib.asynccontextmanager
async def stream_to(
    server: str, port: int, source: IPv6Address | None = None
) -> AsyncIterator[StreamTransport]:
    """A TCP connection over IPv6, from `source`; OSError if there is none."""
    local = None if source is None else (str(source), 0)
    async with _stream(
        await asyncio.open_connection(server, port, family=socket.AF_INET6, local_addr=local)
    ) as transport:
        yield transport


@contextlib.asynccontextmanager
async def unix_stream_to(path: Path) -> AsyncIterator[StreamTransport]:
    """A connection to a UNIX socket; OSError if there is none."""
    async with _stream(await asyncio.open_unix_connection(path)) as transport:
        yield transport


@contextlib.asynccontextmanager
async def _stream(
    ends: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> AsyncIterator[StreamTransport]:
    try:
        yield StreamTransport(*ends)
    finally:
        ends[1].close()
        with contextlib.suppress(OSError):
            await ends[1].wait_closed()


class DatagramTransport:
    """Calls over a connected UDP socket, one at a time."""

    def __init__(self, transport: asyncio.DatagramTransport, answers: Answers) -> None:
        self._transport = transport
        self._answers = answers

    async def exchange(self, call: bytes, xid: int) -> Reply:
        """Send a call until its reply is there."""
        for wait_s in waits():
            self._transport.sendto(call)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    return await self._reply(xid)
        raise AssertionError("waits never end")

    async def _reply(self, xid: int) -> Reply:
        """The reply to `xid`; anybody who can forge a source address may send others."""
        while True:
            arrived = await self._answers.next()
            with contextlib.suppress(DecodeError):
                reply = decode_reply(arrived)
                if reply.xid == xid:
                    return reply


def waits() -> Iterator[float]:
    """Seconds until each retransmission, for ever."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


@contextlib.asynccontextmanager
async def datagrams_to(
    server: str, port: int, source: IPv6Address | None = None
) -> AsyncIterator[DatagramTransport]:
    """A connected UDP socket over IPv6, from `source`; OSError if there is none."""
    transport, answers = await open_datagrams(server, port, source)
    try:
        yield DatagramTransport(transport, answers)
    finally:
        transport.close()
