"""Dialogues of a deployed client (gogoCLIENT 1.2), octet for octet, with a dstm-server process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import struct
from typing import TYPE_CHECKING, Final, Protocol

import pytest

from tests.daemon.server_process import DEADLINE_S, ServerProcess
from tests.daemon.test_tsp_udp import UdpClient
from tests.daemon.tsp_lab import CLIENT6, EVERYTHING, RawClient, in_namespace, tsp_config
from tests.protocols.test_sasl_digest import answer_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from dstmrouter.zmqctl import AsyncControlClient

pytestmark = pytest.mark.netns

VERSION: Final = b"VERSION=2.0.2\r\n"
CAPABILITY: Final = b"CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS AUTH=DIGEST-MD5 AUTH=PLAIN\r\n"
CREATE: Final = (
    b'Content-length: 211\r\n<tunnel action="create" type="v4v6" proxy="no">\r\n <client>\r\n'
    b'  <address type="ipv6">::1</address>\r\n  <keepalive interval="5">\r\n'
    b'    <address type="ipv4">127.0.0.1</address>\r\n  </keepalive>\r\n </client>\r\n'
    b"</tunnel>\r\n"
)
ACCEPT: Final = b'Content-length: 35\r\n<tunnel action="accept"></tunnel>\r\n'
INFO: Final = (
    b'200 Success\r\n<tunnel action="info" type="v4v6" lifetime="15"><server>'
    b'<address type="ipv4" length="32">192.0.2.1</address>'
    b'<address type="ipv6">2001:db8:f::1</address></server><client>'
    b'<address type="ipv4" length="32">192.0.2.0</address>'
    b'<address type="ipv6">2001:db8:7:1::7</address>'
    b'<keepalive interval="5"><address type="ipv4">192.0.2.1</address></keepalive>'
    b"</client></tunnel>\r\n"
)
ORDER: Final = EVERYTHING.replace(
    '"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"', '"ANONYMOUS", "DIGEST-MD5", "PLAIN"'
)


class Ask(Protocol):
    """Says something, or nothing; what is answered, the length of a body left out."""

    async def __call__(self, octets: bytes, *, awaited: bool = True) -> bytes: ...


def deployed(scenario: Callable[[AsyncControlClient], Coroutine[Any, Any, None]]) -> None:
    """Run `scenario` with a server process that offers what such clients expect."""

    async def run() -> None:
        with ServerProcess() as server:
            server.config.write_text(tsp_config(server.home, ORDER))
            async with await server.start() as ctl:
                await scenario(ctl)

    in_namespace(run)


async def lent(ctl: AsyncControlClient) -> None:
    """Wait until the client's address is a lease."""
    async with asyncio.timeout(DEADLINE_S):
        while not (leases := (await ctl.call("leases", state="active"))["leases"]):
            await asyncio.sleep(0.01)
    assert [(row["ipv4"], row["client6"]) for row in leases] == [("192.0.2.0", str(CLIENT6))]


def response_to(challenge: bytes) -> bytes:
    """What the client answers to a challenge: base64 of items with commas between."""
    text = base64.b64decode(challenge)
    items = dict(re.findall(rb'([a-z]+)="?([^",]+)', text))
    assert items.keys() >= {b"realm", b"nonce", b"qop", b"charset"}
    answer = answer_with({"nonce": items[b"nonce"], "charset": items[b"charset"]})
    return base64.b64encode(answer.replace(b", ", b",")) + b"\r\n"


@pytest.mark.parametrize("whole", [True, False], ids=["lines", "octets"])
def test_tcp_anonymous(whole: bool) -> None:
    async def scenario(ctl: AsyncControlClient) -> None:
        client = await RawClient.connect()

        async def say(octets: bytes) -> None:
            for piece in [octets] if whole else [bytes([octet]) for octet in octets]:
                await client.say(piece)

        await say(VERSION)
        assert await client.hear() == CAPABILITY
        await say(b"AUTHENTICATE ANONYMOUS\r\n\0")
        assert await client.hear() == b"200 Success\r\n"
        await say(CREATE)
        assert await client.frame() == INFO
        await say(ACCEPT)
        await lent(ctl)
        await client.close()  # as when the client's host goes down: the lease stays
        assert (await ctl.call("leases", state="active"))["total"] == 1

    deployed(scenario)


@contextlib.asynccontextmanager
async def over_tcp() -> AsyncIterator[Ask]:
    """Every message is a segment; nothing comes where nothing is awaited."""
    client = await RawClient.connect()

    async def ask(octets: bytes, *, awaited: bool = True) -> bytes:
        if octets:
            await client.say(octets)
        if not awaited:
            return b""
        return await (client.frame() if octets == CREATE else client.hear())

    yield ask
    await client.close()


@contextlib.asynccontextmanager
async def over_udp() -> AsyncIterator[Ask]:
    """Every message has an answer, and an empty one fetches what is left."""
    with UdpClient() as client:

        async def ask(octets: bytes, *, awaited: bool = True) -> bytes:
            answer = await client.say(octets)
            assert bool(answer) == awaited
            return answer.partition(b"\r\n")[2] if octets == CREATE else answer

        yield ask


async def plain(ask: Ask) -> None:
    """User and password come without waiting, in a segment of their own."""
    await ask(b"AUTHENTICATE PLAIN\r\n\0", awaited=False)
    assert await ask(b"\0ann\0pencil\r\n") == b"200 Success\r\n"


async def digest(ask: Ask) -> None:
    """Proof and status must not come in one segment."""
    proof = await ask(response_to(await ask(b"AUTHENTICATE DIGEST-MD5\r\n\0")))
    assert base64.b64decode(proof).startswith(b"rspauth=")
    assert proof.endswith(b"\r\n")
    assert await ask(b"") == b"200 Success\r\n"


@pytest.mark.parametrize("over", [over_tcp, over_udp])
@pytest.mark.parametrize("authenticate", [plain, digest])
def test_a_user(
    over: Callable[[], AbstractAsyncContextManager[Ask]],
    authenticate: Callable[[Ask], Awaitable[None]],
) -> None:
    async def scenario(ctl: AsyncControlClient) -> None:
        async with over() as ask:
            assert await ask(VERSION) == CAPABILITY
            await authenticate(ask)
            assert await ask(CREATE) == INFO
            await ask(ACCEPT, awaited=False)
            await lent(ctl)

    deployed(scenario)


def test_tcp_versions_fall_back() -> None:
    async def scenario(_ctl: AsyncControlClient) -> None:
        for version, answer in (("2.1.0", b"302 "), ("2.0.1", b"CAPA"), ("1.0.1", b"302 ")):
            client = await RawClient.connect()
            await client.say(f"VERSION={version}\r\n".encode())
            assert (await client.hear())[:4] == answer
            await client.close()

    deployed(scenario)


def test_tcp_router_mode() -> None:
    async def scenario(ctl: AsyncControlClient) -> None:
        client = await RawClient.connect()
        await client.say(VERSION + b"AUTHENTICATE ANONYMOUS\r\n\0")
        await client.line()
        await client.line()
        for length, status in ((b"24", b"507"), (b"32", b"200")):
            router = b'<router><prefix length="%s"/></router> </client>' % length
            body = CREATE.partition(b"\r\n")[2].replace(b"</client>", router)
            await client.say(b"Content-length: %d\r\n%s" % (len(body), body))
            answer = await client.frame()
            assert answer[:3] == status
        assert b'<router><prefix length="32">192.0.2.0</prefix></router>' in answer
        await client.say(ACCEPT)
        await lent(ctl)
        await client.close()

    deployed(scenario)


def test_udp_anonymous_in_the_client_s_own_numbers() -> None:
    async def scenario(ctl: AsyncControlClient) -> None:
        dialogue = [
            (VERSION, CAPABILITY),
            (b"AUTHENTICATE ANONYMOUS\r\n\0", b"200 Success\r\n"),
            (CREATE, b"Content-length: %d\r\n%s" % (len(INFO), INFO)),
            (ACCEPT, b""),
        ]
        with UdpClient() as client:
            for number, (octets, answer) in enumerate(dialogue):
                header = struct.pack("!II", 0xF00000F0 + number, 1000 + number)
                for _ in range(2):  # every message twice, as if the answer had been lost
                    client.socket.send(header + octets)
                    assert await client.hear() == header + answer
        await lent(ctl)
        counts = {row["name"]: row["count"] for row in (await ctl.call("status"))["tsp"]}
        assert (counts["offers"], counts["grants"]) == (1, 1)

    deployed(scenario)


def test_a_client_that_asks_2000_times_a_second_is_slowed_down() -> None:
    async def run() -> None:
        with ServerProcess() as server:
            server.config.write_text(tsp_config(server.home, ORDER.partition("requests_per_s")[0]))
            async with await server.start() as ctl:
                with UdpClient() as client:
                    for number in range(200):
                        client.socket.send(struct.pack("!II", 0xF00000F0 + number, 0) + VERSION)
                    counts: dict[str, int] = {}

                    async def count() -> None:
                        rows = (await ctl.call("status"))["tsp"]
                        counts.update((row["name"], row["count"]) for row in rows)

                    await count()
                    for _ in range(50):
                        if counts["dropped-rate"] > 120:
                            break
                        await count()
                assert 120 < counts["dropped-rate"] <= 170  # a burst of 30 goes through

    in_namespace(run)
