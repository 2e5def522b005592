from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon import rpc_client
from dstmrouter.daemon.rpc_client import (
    RpcError,
    Transport,
    call_procedure,
    datagrams_to,
    stream_to,
    unix_stream_to,
    waits,
)
from dstmrouter.errors import DecodeError
from dstmrouter.protocols.oncrpc import (
    Accepted,
    AcceptStat,
    AuthRejected,
    Reply,
    RpcMismatch,
    decode_call,
    encode_reply,
)
from dstmrouter.protocols.record_marking import RecordAssembler, mark
from dstmrouter.protocols.rpc_auth import AuthStat
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from dstmrouter.protocols.oncrpc import Call

    Answer = Callable[[Call], list[bytes]]
    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def success(call: Call) -> list[bytes]:
    return [reply(call, results=call.arguments[::-1])]


def reply(call: Call, results: bytes = b"", xid: int | None = None) -> bytes:
    xid = call.xid if xid is None else xid
    return encode_reply(Accepted(xid=xid, stat=AcceptStat.SUCCESS, results=results))


@contextlib.asynccontextmanager
async def listening(serve: Serve, path: Path | None = None) -> AsyncIterator[int]:
    """A server on ::1, or at `path`; at the end it waits until every connection is served."""
    tasks: set[asyncio.Task[None]] = set()

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(closing(reader, writer)))

    if path is not None:
        server = await asyncio.start_unix_server(accept, path)
    else:
        server = await asyncio.start_server(accept, "::1", 0)
    async with server:
        yield 0 if path is not None else server.sockets[0].getsockname()[1]
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def stream_server(answer: Answer, path: Path | None = None) -> AsyncIterator[int]:
    """Sends what `answer` makes of each call; closes when that is nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assembler = RecordAssembler()
        while octets := await reader.read(4096):
            for record in assembler.receive(octets):
                found = answer(decode_call(record))
                if not found:
                    return
                for one in found:
                    writer.write(mark(one))

    async with listening(serve, path) as port:
        yield port


class DatagramServer(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[Any, ...]) -> None:
        for one in self._answer(decode_call(data)):
            self._transport.sendto(one, address)


@contextlib.asynccontextmanager
async def datagram_server(answer: Answer) -> AsyncIterator[int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: DatagramServer(answer), local_addr=("::1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def asked(answer: Answer, way: str = "tcp", timeout_s: float = 10) -> bytes:
    """The results that a client gets from a server that answers like this."""

    async def scenario() -> bytes:
        serve = stream_server if way == "tcp" else datagram_server
        connect = stream_to if way == "tcp" else datagrams_to
        async with (
            serve(answer) as port,
            asyncio.timeout(timeout_s),
            connect("::1", port) as transport,
        ):
            return await ask(transport)

    return asyncio.run(scenario())


def ask(transport: Transport) -> Coroutine[Any, Any, bytes]:
    return call_procedure(transport, 0x20000001, 1, 2, b"abcd")


@pytest.mark.parametrize("way", ["tcp", "udp"])
def test_a_call_and_its_results(way: str) -> None:
    assert asked(success, way) == b"dcba"


def test_a_call_over_a_unix_socket(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "rpcbind.sock"
        async with stream_server(success, path), unix_stream_to(path) as transport:
            assert await ask(transport) == b"dcba"
            assert await ask(transport) == b"dcba"

    asyncio.run(scenario())


@pytest.mark.parametrize("way", ["tcp", "udp"])
def test_replies_to_other_calls_are_passed_over(way: str) -> None:
    assert asked(lambda call: [reply(call, xid=call.xid ^ 1), *success(call)], way) == b"dcba"


def test_datagrams_that_are_no_replies_are_passed_over() -> None:
    assert asked(lambda call: [b"", b"noise", *success(call)], "udp") == b"dcba"


@pytest.mark.parametrize(
    ("answer", "text", "permanent"),
    [
        (Accepted(xid=0, stat=AcceptStat.PROG_UNAVAIL), "PROG_UNAVAIL", True),
        (
            Accepted(xid=0, stat=AcceptStat.PROG_MISMATCH, versions=(2, 3)),
            "PROG_MISMATCH, it has 2 to 3",
            True,
        ),
        (Accepted(xid=0, stat=AcceptStat.SYSTEM_ERR), "SYSTEM_ERR", False),
        (RpcMismatch(xid=0, low=3, high=3), "RPC_MISMATCH, it has 3 to 3", True),
        (AuthRejected(xid=0, stat=AuthStat.TOOWEAK), "AUTH_ERROR, TOOWEAK", True),
    ],
)
def test_what_a_server_does_not_do(answer: Reply, text: str, permanent: bool) -> None:
    def with_xid(call: Call) -> list[bytes]:
        return [call.xid.to_bytes(4, "big") + encode_reply(answer)[4:]]

    with pytest.raises(RpcError) as failed:
        asked(with_xid)
    assert (str(failed.value), failed.value.permanent) == (text, permanent)


def test_a_server_that_closes_or_talks_nonsense() -> None:
    with pytest.raises(RpcError, match="the connection was closed"):
        asked(lambda _: [])
    with pytest.raises(DecodeError):
        asked(lambda _: [b"nonsense"])


def test_over_udp_a_lost_call_is_sent_again_with_its_xid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_client, "FIRST_WAIT_S", 0.02)
    xids: list[int] = []

    def third_time(call: Call) -> list[bytes]:
        xids.append(call.xid)
        return success(call) if len(xids) >= 3 else []

    assert asked(third_time, "udp") == b"dcba"
    assert len(xids) >= 3
    assert len(set(xids)) == 1


def test_the_caller_sets_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        asked(lambda _: [], "udp", timeout_s=0.1)


@pytest.mark.parametrize("connect", [stream_to, datagrams_to])
def test_a_port_where_nobody_listens(connect: Any) -> None:
    async def scenario() -> None:
        async with datagram_server(success) as port:
            pass  # free again
        async with asyncio.timeout(PATIENCE_S), connect("::1", port) as transport:
            await ask(transport)

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(scenario())


def test_waits_double_up_to_a_limit() -> None:
    assert list(itertools.islice(waits(), 6)) == [1, 2, 4, 8, 8, 8]
