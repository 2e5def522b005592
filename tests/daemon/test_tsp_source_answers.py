"""What a TspSource makes of servers that say odd things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_account import TspAccount
from tests.daemon.tsp_lab import CLIENT6, SERVER6, in_namespace, source
from tests.protocols.tsp_samples import framed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstmrouter.protocols.granted import GrantedLease

pytestmark = pytest.mark.netns


def told(answers: list[bytes]) -> Callable[..., Awaitable[None]]:
    """A server that says the same things to everybody, whatever it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            if not await reader.read(4096):
                break
            writer.write(answer)
        await reader.read(4096)
        writer.close()

    return serve


GREETING = b"CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n"


async def outcome(*answers: bytes) -> GrantedLease | SourceError:
    """What a source makes of a server's answers."""
    server = await asyncio.start_server(told(list(answers)), SERVER6, 3653)
    async with server, source(account=TspAccount()) as client:
        try:
            return await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
        except SourceError as error:
            return error


def broker(*names: str) -> bytes:
    found = b"".join(b'<address type="dn">%s</address>' % name.encode() for name in names)
    return b'<tunnel action="list" type="broker"><broker>%s</broker></tunnel>\r\n' % found


def test_servers_that_do_not_speak_our_versions() -> None:
    async def scenario() -> None:
        found = await outcome(b"302 Unsupported client version\r\n")
        assert isinstance(found, SourceError)
        assert "2.0.2, 2.0.1, 2.0.0" in str(found)
        assert found.final

    in_namespace(scenario)


def test_a_server_that_speaks_an_older_version() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            version = await reader.readline()
            heard.append(version)
            old = version == b"VERSION=2.0.0\r\n"
            writer.write(b"CAPABILITY TUNNEL=V6V4\r\n" if old else b"302 No\r\n")
            writer.close()

        heard: list[bytes] = []
        server = await asyncio.start_server(serve, SERVER6, 3653)
        async with server, source() as client:
            with pytest.raises(SourceError, match="no v4v6"):
                await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
        assert heard == [b"VERSION=2.0.2\r\n", b"VERSION=2.0.1\r\n", b"VERSION=2.0.0\r\n"]

    in_namespace(scenario)


@pytest.mark.parametrize(
    "answers",
    [
        (b"1200 Redirection\r\n" + broker(SERVER6, "::1"),),
        (GREETING, b"1200 Redirection\r\n" + broker(SERVER6)),
        (GREETING, b"200 OK\r\n", framed(b"1301 No\r\n" + broker(SERVER6))),
    ],
    ids=["greeting", "authentication", "create"],
)
def test_servers_that_name_each_other_are_asked_once(answers: tuple[bytes, ...]) -> None:
    async def scenario() -> None:
        found = await outcome(*answers)
        assert isinstance(found, SourceError)

    in_namespace(scenario)


ENDS = (
    '<address type="ipv4">192.0.2.1</address><address type="ipv6">2001:db8:f::1</address>',
    f'<address type="ipv4">192.0.2.9</address><address type="ipv6">{CLIENT6}</address>',
)
INFO = '<tunnel action="info" lifetime="2"><server>{}</server><client>{}</client></tunnel>'


def answer(info: str) -> tuple[bytes, ...]:
    return GREETING, b"200 OK\r\n", framed(f"200 OK\r\n{info}\r\n".encode())


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ("", "without server and client"),
        (INFO.format("", "").replace("<client></client>", ""), "without server and client"),
        (INFO.format("", ENDS[1]), "without all addresses"),
        (INFO.format(ENDS[0], ""), "without all addresses"),
        (INFO.format(ENDS[0], ENDS[1].replace("::7", "::8")), "instead of"),
    ],
)
def test_answers_that_are_no_lease(info: str, problem: str) -> None:
    async def scenario() -> None:
        found = await outcome(*answer(info))
        assert isinstance(found, SourceError)
        assert problem in str(found)

    in_namespace(scenario)


def test_an_answer_of_another_maker_s_server() -> None:
    async def scenario() -> None:
        lease = await outcome(*answer(INFO.format(*ENDS)))
        assert not isinstance(lease, SourceError)
        assert (lease.lifetime_s, lease.keepalive_s) == (120, None)

    in_namespace(scenario)


def test_a_caller_who_gives_up_does_not_disturb_the_next() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(GREETING if await reader.readline() else b"")
            writer.write(b"200 Success\r\n" if await reader.readline() else b"")
            await reader.readline()
            asked.set()
            await reader.read()
            writer.close()

        asked = asyncio.Event()
        server = await asyncio.start_server(serve, SERVER6, 3653)
        async with server, source(account=TspAccount()) as client:
            for _ in range(2):
                task = asyncio.create_task(client.obtain(CLIENT6, hint4=None, lifetime_s=None))
                await asked.wait()
                asked.clear()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    in_namespace(scenario)
