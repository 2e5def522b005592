from __future__ import annotations

import asyncio
import contextlib
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon import tsp_transport
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_transport import DatagramTransport, StreamTransport
from dstmrouter.protocols.tsp_datagram import Datagram, Retransmission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = IPv6Address("::1")


class Repeater(asyncio.DatagramProtocol):
    """Answers each datagram by what `answers` has for its payload; loses the first `lost`."""

    def __init__(self, answers: dict[bytes, list[bytes]], lost: int = 0) -> None:
        self.answers = answers
        self.lost = lost
        self.heard: list[Datagram] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        datagram = Datagram.decode(data)
        self.heard.append(datagram)
        if len(self.heard) > self.lost:
            for payload in self.answers.get(datagram.payload, []):
                self.transport.sendto(payload, address)
            self.transport.sendto(datagram.answer(b"to " + datagram.payload).encode(), address)


@contextlib.asynccontextmanager
async def talking(server: Repeater) -> AsyncIterator[DatagramTransport]:
    loop = asyncio.get_running_loop()
    bound, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("::1", 0))
    port = bound.get_extra_info("sockname")[1]
    client = await DatagramTransport.connect("::1", port, HERE)
    try:
        yield client
    finally:
        await client.close()
        bound.close()


def test_each_message_has_one_answer_and_a_number() -> None:
    async def scenario() -> None:
        server = Repeater({})
        async with talking(server) as client:
            await client.send([b"one", b"two"])
            assert [await client.receive(), await client.receive()] == [b"to one", b"to two"]
            assert await client.receive() == b"to "  # fetched by an empty datagram
            await client.send([b"three"])
            await client.flush()
        numbers = [datagram.sequence for datagram in server.heard]
        assert numbers == list(range(numbers[0], numbers[0] + 4))

    asyncio.run(scenario())


def test_strange_answers_are_left_aside() -> None:
    async def scenario() -> None:
        stale = Datagram(0x0FFFFFFF, 0, b"stale").encode()
        async with talking(Repeater({b"one": [stale, stale]})) as client:
            await client.send([b"one"])
            assert await client.receive() == b"to one"

    asyncio.run(scenario())


def test_what_is_lost_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        server = Repeater({}, lost=2)
        async with talking(server) as client:
            await client.send([b"one"])
            assert await client.receive() == b"to one"
        assert len({datagram.sequence for datagram in server.heard}) == 1
        assert len(server.heard) == 3

    monkeypatch.setattr(Retransmission, "FLOOR_S", 0.05)
    asyncio.run(scenario())


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with talking(Repeater({}, lost=99)) as client:
            await client.send([b"one"])
            with pytest.raises(SourceError, match="no answer to 3 datagrams"):
                await client.receive()

    monkeypatch.setattr(Retransmission, "FLOOR_S", 0.02)
    asyncio.run(scenario())


def test_a_server_with_nothing_to_say_is_given_up() -> None:
    class Mute(Repeater):
        def datagram_received(self, data: bytes, address: Any) -> None:
            self.transport.sendto(Datagram.decode(data).answer(b"").encode(), address)

    async def scenario() -> None:
        async with talking(Mute({})) as client:
            await client.send([b"one"])
            with pytest.raises(SourceError, match="nothing"):
                await client.receive()

    asyncio.run(scenario())


def test_a_stream_s_failures_are_source_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        silent = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.readline() == b"wait\n":
                await silent.wait()
            writer.close()

        server = await asyncio.start_server(serve, "::1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            for line, problem in ((b"go\n", "closed"), (b"wait\n", "no answer")):
                stream = await StreamTransport.connect("::1", port, HERE, None)
                await stream.send([line])
                await stream.flush()
                with pytest.raises(SourceError, match=problem):
                    await stream.receive(0.2)
                await stream.close()
            silent.set()
        with pytest.raises(SourceError, match="no connection"):
            await StreamTransport.connect("::1", port, HERE, None)
        with pytest.raises(SourceError):
            await StreamTransport.connect("::1", port, IPv6Address("2001:db8::1"), None)
        with pytest.raises(SourceError):
            await DatagramTransport.connect("::1", port, IPv6Address("2001:db8::1"))

    monkeypatch.setattr(tsp_transport, "ANSWER_S", 0.2)
    asyncio.run(scenario())
