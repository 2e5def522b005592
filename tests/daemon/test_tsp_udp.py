"""TSP over UDP, datagram by datagram, with a server that has real sockets."""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon import tsp_visit
from dstmrouter.protocols import tsp_session
from dstmrouter.protocols.tsp_datagram import Datagram
from tests.daemon.server_process import DEADLINE_S
from tests.daemon.tsp_lab import CLIENT6, EVERYTHING, OTHER6, SERVER6, in_namespace, lending
from tests.protocols.tsp_samples import ACCEPT, DELETE, framed

if TYPE_CHECKING:
    from ipaddress import IPv6Address

pytestmark = pytest.mark.netns
ADDRESS = f'<address type="ipv6">{CLIENT6}</address>'
CREATE = framed(f'<tunnel action="create"><client>{ADDRESS}</client></tunnel>'.encode())
HELLO = b"AUTHENTICATE ANONYMOUS\r\n\0"
SUCCESS = b"200 Success\r\n"


class UdpClient:
    """A socket at `client6` from which a test says exactly what it wants."""

    def __init__(self, client6: IPv6Address = CLIENT6, server6: str = SERVER6) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((str(client6), 0))
        self.socket.connect((server6, 3653))
        self.sequence = 0xF0
        self.stamp = 0x12345

    def __enter__(self) -> UdpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def hear(self, wait_s: float = DEADLINE_S) -> bytes:
        async with asyncio.timeout(wait_s):
            return await asyncio.get_running_loop().sock_recv(self.socket, 4096)

    async def say(self, payload: bytes, *, again: bool = False) -> bytes:
        """Say something new, or the same again; the payload of the answer."""
        self.sequence += not again
        self.stamp += 10
        self.socket.send(Datagram(self.sequence, self.stamp, payload).encode())
        answer = Datagram.decode(await self.hear())
        assert (answer.sequence, answer.stamp) == (self.sequence, self.stamp)
        return answer.payload


def test_every_datagram_is_answered_and_repeats_change_nothing() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                assert (await client.say(b"VERSION=2.0.0\r\n")).startswith(b"CAPABILITY")
                assert await client.say(HELLO) == SUCCESS
                assert await client.say(HELLO, again=True) == SUCCESS
                offer = await client.say(CREATE)
                assert b'action="info"' in offer
                assert await client.say(CREATE, again=True) == offer
                assert await client.say(framed(ACCEPT)) == b""
                assert server.leases() == {"192.0.2.0": "ACTIVE"}
                assert await client.say(framed(ACCEPT), again=True) == b""
                assert await client.say(b"") == b""
            assert server.counted("repeated-datagrams") == 3
            assert server.counted("udp-dialogues") == 1

    in_namespace(scenario)


def test_strangers_are_told_to_begin() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                refusal = framed(b"300 Authentication failed\r\n")
                assert await client.say(CREATE) == refusal
                assert await client.say(b"") == b""
                assert (await client.say(b"hello, world")).startswith(b"500")
                client.socket.send(b"\0" * 20)
                client.socket.send(b"x")
                await server.until(lambda: server.counted("malformed-datagrams") == 2)
            assert server.counted("strangers") == 1
            assert server.leases() == {}

    in_namespace(scenario)


def test_anonymous_must_be_wanted() -> None:
    async def scenario() -> None:
        async with lending(EVERYTHING.replace("anonymous_udp = true", "")):
            with UdpClient() as client:
                assert b"ANONYMOUS" not in await client.say(b"VERSION=2.0.0\r\n")
                assert await client.say(HELLO) == b"300 Authentication failed\r\n"

    in_namespace(scenario)


def test_a_client_may_begin_again_from_the_same_port() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                await client.say(HELLO)
                await client.say(CREATE)
                assert await client.say(HELLO) == SUCCESS
                await server.until(lambda: server.leases() == {"192.0.2.0": "REMOVING"})
                assert b"200" in await client.say(CREATE)
            assert server.server._describe()["tsp_sessions"] == 1

    in_namespace(scenario)


def test_a_client_that_counts_anew_is_not_told_old_news() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                for _ in range(2):
                    client.sequence = 0xF0
                    assert (await client.say(b"VERSION=2.0.0\r\n")).startswith(b"CAPA")
                    assert await client.say(HELLO) == SUCCESS
                    assert b"200" in await client.say(CREATE)
                    assert await client.say(framed(ACCEPT)) == b""
            assert server.counted("grants") == 2

    in_namespace(scenario)


def test_late_copies_change_nothing() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                version = Datagram(client.sequence, client.stamp, b"VERSION=2.0.0\r\n").encode()
                await client.say(HELLO)
                await client.say(CREATE)
                await client.say(framed(ACCEPT))
                client.socket.send(version)
                assert b"CAPABILITY" in await client.hear()
                old = Datagram(client.sequence - 20, client.stamp, framed(DELETE)).encode()
                client.socket.send(old)
                await server.until(lambda: server.counted("repeated-datagrams"))
                assert await client.say(b"") == b""
                assert server.leases() == {"192.0.2.0": "ACTIVE"}

    in_namespace(scenario)


def test_half_a_datagram_is_malformed() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                await client.say(HELLO)
                assert (await client.say(CREATE[:-3])).startswith(b"Content-length: 48\r\n500 ")
                assert server.leases() == {}

    in_namespace(scenario)


def test_a_silent_client_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as lent, UdpClient(OTHER6) as lost:
                for client, octets in (
                    (lent, CREATE),
                    (lost, CREATE.replace(b"7:1::7", b"7:2::8")),
                ):
                    await client.say(HELLO)
                    assert b"200" in await client.say(octets)
                await lent.say(framed(ACCEPT))
                done = {"192.0.2.0": "ACTIVE", "192.0.2.2": "REMOVING"}
                await server.until(lambda: server.leases() == done)
                await server.until(lambda: server.counted("rolled-back") == 1)
                await server.until(lambda: not server.server._describe()["tsp_sessions"])

    monkeypatch.setattr(tsp_visit, "IDLE_S", 0.5)
    monkeypatch.setattr(tsp_session, "LINE_S", 0.5)
    in_namespace(scenario)


def test_too_many_sessions_and_too_many_datagrams() -> None:
    async def scenario() -> None:
        limits = "per_64 = 1\nrequests_per_s = 0.1\nburst = 5\n"
        section = EVERYTHING.partition("requests_per_s")[0] + limits
        async with lending(section) as server:
            with UdpClient() as first, UdpClient() as second, UdpClient(OTHER6) as other:
                assert await first.say(HELLO) == SUCCESS
                assert await second.say(HELLO) == b"530 Server busy, try again later\r\n"
                assert await other.say(HELLO) == SUCCESS
                for _ in range(3):
                    assert await first.say(b"") == b""
                first.socket.send(Datagram(0x200, 0, b"").encode())
                await server.until(lambda: server.counted("dropped-rate") == 1)
                with pytest.raises(TimeoutError):
                    await first.hear(0.05)
            assert server.counted("dropped-full") == 1

    in_namespace(scenario)


def test_answers_come_from_the_address_that_was_asked() -> None:
    async def scenario() -> None:
        async with lending(EVERYTHING + 'listen = ["::"]\n'):
            for server6 in (SERVER6, str(OTHER6)):
                with UdpClient(server6=server6) as client:
                    assert (await client.say(b"VERSION=2.0.0\r\n")).startswith(b"CAPABILITY")

    in_namespace(scenario)


def test_nobody_is_flooded_in_another_s_name() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                await client.say(HELLO)
                short = framed(b"<tunnel action='create'/>")
                assert await client.say(short) == b""
                assert server.counted("cut-answers") == 1

    in_namespace(scenario)


def test_an_answer_that_would_be_too_long_is_cut() -> None:
    async def scenario() -> None:
        async with lending() as server:
            with UdpClient() as client:
                first = b"n,,n=" + b"=2C" * 250 + b",r=nonce"
                assert await client.say(base64.b64encode(first) + b"\r\n") == b""
                assert server.counted("cut-answers") == 1

    in_namespace(scenario)


def test_a_server_that_sends_everybody_away() -> None:
    async def scenario() -> None:
        away = EVERYTHING + 'brokers = ["b.example"]\nredirect = "always"\n'
        async with lending(away):
            with UdpClient() as client:
                answer = await client.say(HELLO + b"\0" * 40)
                assert answer.startswith(b"1200 Redirection\r\n<tunnel")
                assert await client.say(CREATE) == b""

    in_namespace(scenario)
