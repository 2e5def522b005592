"""Dialogues over TCP, said octet by octet, with a server that has real sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from dstmrouter.daemon.stream_connection import PeerDroppedError
from dstmrouter.daemon.tsp_stream import converse
from dstmrouter.protocols import tsp_session
from dstmrouter.protocols.tsp_state import Ending
from tests.daemon.tsp_lab import CLIENT6, EVERYTHING, RawClient, in_namespace, lending
from tests.protocols.tsp_samples import ACCEPT, REJECT, framed, session

pytestmark = pytest.mark.netns
CREATE = (
    f'<tunnel action="create"><client><address type="ipv6">{CLIENT6}</address></client></tunnel>'
)
HELLO = b"VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n"
OFFER = HELLO + framed(CREATE.encode())


async def offered(client: RawClient, said: bytes = OFFER) -> bytes:
    """Say `said` up to an offer; the offer."""
    await client.say(said)
    assert (await client.line()).startswith(b"CAPABILITY TUNNEL=V4V6 AUTH=")
    assert await client.line() == b"200 Success\r\n"
    return await client.frame()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_dialogue_in_pieces(size: int) -> None:
    async def scenario() -> None:
        async with lending() as server:
            client = await RawClient.connect()
            octets = OFFER + framed(ACCEPT)
            for start in range(0, len(octets), size):
                await client.say(octets[start : start + size])
            assert (await offered(client, b"")).startswith(b'200 Success\r\n<tunnel action="info"')
            await server.until(lambda: server.leases() == {"192.0.2.0": "ACTIVE"})
            await client.close()
            await server.until(lambda: not server.server._describe()["tsp_sessions"])
            assert server.leases() == {"192.0.2.0": "ACTIVE"}

    in_namespace(scenario)


@pytest.mark.parametrize("abort", [False, True])
def test_a_client_that_goes_before_it_accepts_leaves_nothing(abort: bool) -> None:
    async def scenario() -> None:
        async with lending() as server:
            client = await RawClient.connect()
            await offered(client)
            assert server.leases() == {"192.0.2.0": "OFFERED"}
            if abort:
                client.writer.transport.abort()
            else:
                await client.close()
            await server.until(lambda: server.leases() == {"192.0.2.0": "REMOVING"})
            await server.until(lambda: server.counted("rolled-back") == 1)

    in_namespace(scenario)


def test_rejection_and_another_try() -> None:
    async def scenario() -> None:
        async with lending() as server:
            client = await RawClient.connect()
            await offered(client)
            await client.say(framed(REJECT))
            await server.until(lambda: server.leases() == {"192.0.2.0": "REMOVING"})
            await client.say(framed(CREATE.encode()))
            assert (await client.frame()).startswith(b"200")
            assert server.leases() == {"192.0.2.0": "OFFERED"}
            await client.close()

    in_namespace(scenario)


def test_closing_can_be_a_release() -> None:
    async def scenario() -> None:
        async with lending(EVERYTHING + "release_on_close = true\n") as server:
            client = await RawClient.connect()
            await offered(client)
            await client.say(framed(ACCEPT))
            await server.until(lambda: server.leases() == {"192.0.2.0": "ACTIVE"})
            await client.close()
            await server.until(lambda: server.leases() == {"192.0.2.0": "REMOVING"})

    in_namespace(scenario)


def test_a_silent_client_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with lending() as server:
            client = await RawClient.connect()
            assert await client.hear() == b""
            assert server.counted("timed-out") == 1
            await client.close()

    monkeypatch.setattr(tsp_session, "LINE_S", 0.2)
    in_namespace(scenario)


def test_nonsense_is_answered_once() -> None:
    async def scenario() -> None:
        async with lending() as server:
            client = await RawClient.connect()
            await client.say(b"GET / HTTP/1.0\r\n\r\n")
            assert await client.line() == b"500 Invalid request format or specified length\r\n"
            assert await client.hear() == b""
            await client.close()
            assert server.counted("malformed") == 1

    in_namespace(scenario)


def test_proof_and_verdict_come_in_two_segments() -> None:
    async def scenario() -> None:
        async with lending():
            client = await RawClient.connect()
            client.writer.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1
            )
            await client.say(b"VERSION=2.0.2\r\nAUTHENTICATE PLAIN\r\n\0")
            assert (await client.line()).startswith(b"CAPABILITY")
            await client.say(b"\0ann\0pencil\r\n")
            assert await client.hear() == b"200 Success\r\n"
            await client.close()

    in_namespace(scenario)


def test_a_server_that_stops_leaves_offers_to_run_out() -> None:
    async def scenario() -> None:
        async with lending() as server:
            client = await RawClient.connect()
            await offered(client)
        assert await client.hear() == b""
        await client.close()
        assert server.leases() == {"192.0.2.0": "OFFERED"}

    in_namespace(scenario)


def test_many_at_a_time() -> None:
    async def scenario() -> None:
        async with lending(EVERYTHING + "per_64 = 100\n") as server:
            clients = await asyncio.gather(*(RawClient.connect() for _ in range(50)))
            offers = await asyncio.gather(*(offered(client) for client in clients))
            assert len(set(offers)) == 1  # one client6, one address
            for client in clients:
                await client.close()
            await server.until(lambda: not server.server._describe()["tsp_sessions"])
            assert server.leases() == {"192.0.2.0": "REMOVING"}

    in_namespace(scenario)


def test_requests_are_limited_as_connections_are() -> None:
    async def scenario() -> None:
        limits = "requests_per_s = 0.1\nburst = 4\n"
        async with lending(EVERYTHING.partition("requests_per_s")[0] + limits) as server:
            client = await RawClient.connect()
            query = framed(b'<tunnel action="info"></tunnel>')
            await client.say(HELLO + query * 5)
            assert len([await client.line(), await client.line()]) == 2
            codes = [(await client.frame())[:3] for _ in range(5)]
            assert codes == [b"301", b"301", b"301", b"530", b"530"]
            assert server.counted("dropped-rate") == 2
            await client.close()

    in_namespace(scenario)


def test_a_client_that_does_not_read_is_left() -> None:
    class Stuck:
        """A connection whose peer takes nothing."""

        async def send(self, octets: bytes) -> None:
            assert octets.startswith(b"CAPABILITY")
            raise PeerDroppedError

        async def receive(self, _limit: int) -> bytes:
            return b"VERSION=2.0.0\r\n"

    class Nobody:
        async def leave(self) -> None:
            self.left = True

    server, desk = session(), Nobody()
    asyncio.run(converse(Stuck(), server, desk, lambda: True))  # type: ignore[arg-type]
    assert (server.ending, server.why) == (Ending.TIMED_OUT, "answers are not read")
    assert desk.left
