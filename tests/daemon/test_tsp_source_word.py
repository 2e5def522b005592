"""A client that accepts makes sure that its lease holds: nothing is said to `accept` over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon import tsp_source
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_account import TspAccount
from dstmrouter.protocols.tsp_client import ClientSession
from lab.netns import wait_until
from tests.daemon.server_process import DEADLINE_S, ServerProcess, until_state
from tests.daemon.test_tsp_source_answers import ENDS, GREETING, INFO
from tests.daemon.tsp_lab import CLIENT6, SERVER6, in_namespace, source
from tests.protocols.tsp_samples import framed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstmrouter.daemon.tsp_source import TspSource
    from dstmrouter.protocols.granted import GrantedLease

TSP = f'\n[tsp]\nlisten = ["{SERVER6}"]\nmechanisms = ["ANONYMOUS"]\n'

pytestmark = pytest.mark.netns


def obtain(client: TspSource) -> Awaitable[GrantedLease]:
    return client.obtain(CLIENT6, hint4=None, lifetime_s=None)


def listens() -> bool:
    try:
        socket.create_connection((SERVER6, 3653)).close()
    except OSError:
        return False
    return True


def before_accept(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen once, when the client has its offer and is about to accept it."""
    accept = ClientSession.accept

    def later(session: ClientSession) -> None:
        monkeypatch.setattr(ClientSession, "accept", accept)
        act()
        accept(session)

    monkeypatch.setattr(ClientSession, "accept", later)


def test_a_server_killed_after_its_offer_is_noticed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        with ServerProcess(feed=TSP) as server:
            (await server.start()).close()
            async with source(account=TspAccount()) as client:
                before_accept(monkeypatch, server.kill)
                with pytest.raises(SourceError, match="no connection"):
                    await obtain(client)
                with contextlib.closing(await server.start()) as ctl:
                    lease = await obtain(client)
                    await until_state(ctl, str(lease.client4), "active")

    in_namespace(scenario)


def test_a_server_that_is_back_already_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        with ServerProcess(feed=TSP) as server:
            (await server.start()).close()

            def restart() -> None:
                server.kill()
                server.process = server.popen()
                wait_until(listens, "a server that listens again", DEADLINE_S)

            async with source(account=TspAccount()) as client:
                before_accept(monkeypatch, restart)
                lease = await obtain(client)
            with contextlib.closing(server.client()) as ctl:
                await until_state(ctl, str(lease.client4), "active")

    in_namespace(scenario)


OFFER = INFO.format(*ENDS)


class Foreign:
    """A server of another make; `word` is what it says to `info`, None: nothing."""

    def __init__(self, word: str | None, *, closes: bool = False) -> None:
        self._word = word
        self._closes = closes
        self.heard: list[list[str]] = []
        """The actions of each dialogue."""
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard: list[str] = []
        self.heard.append(heard)
        self.open += 1
        await reader.readline()
        writer.write(GREETING)
        await reader.readline()
        writer.write(b"200 Success\r\n")
        while length := await reader.readline():
            body = await reader.readexactly(int(length.partition(b":")[2]))
            action = re.search(rb'action="(\w+)"', body)
            assert action is not None
            heard.append(action[1].decode())
            if heard[-1] == "accept" and self._closes:
                break
            word = {"create": f"200 OK\r\n{OFFER}", "info": self._word}.get(heard[-1])
            if word is not None:
                writer.write(framed(f"{word}\r\n".encode()))
        writer.close()
        self.open -= 1


async def dialogues(foreign: Foreign, times: int = 1) -> list[list[str]]:
    """What a server hears of a client that asks so many times; its lease is always the same."""
    server = await asyncio.start_server(foreign.serve, SERVER6, 3653)
    async with server, source(account=TspAccount()) as client:
        for _ in range(times):
            lease = await obtain(client)
            assert (str(lease.client4), lease.lifetime_s) == ("192.0.2.9", 120)
    while foreign.open:
        await asyncio.sleep(0.01)
    return foreign.heard


TAKEN = ["create", "accept", "info"]


@pytest.mark.parametrize(
    "word",
    [f"200 OK\r\n{OFFER}", "200 OK", "500 Invalid request", "303 Unsupported tunnel type"],
    ids=["ours", "nothing", "500", "303"],
)
def test_servers_that_answer(word: str) -> None:
    async def scenario() -> None:
        assert await dialogues(Foreign(word), times=2) == [TAKEN + TAKEN]

    in_namespace(scenario)


def test_a_silent_server_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stays until the next question, which an answer that comes late is not for."""

    async def scenario() -> None:
        quiet = ["create", "accept"]
        assert await dialogues(Foreign(None), times=3) == [TAKEN, quiet + quiet]

    monkeypatch.setattr(tsp_source, "INFO_S", 0.1)
    in_namespace(scenario)


def test_a_server_that_closes_after_accept_is_believed_the_second_time() -> None:
    async def scenario() -> None:
        heard = await dialogues(Foreign(None, closes=True))
        assert heard == [["create", "accept"], ["create", "accept"]]

    in_namespace(scenario)


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("301 No more tunnels available", "301"),
        ("310 Server side error", "310"),
        (f"200 OK\r\n{OFFER.replace('192.0.2.9', '192.0.2.10')}", "has 192.0.2.10 for us"),
        (f"1200 OK\r\n{OFFER}", "elsewhere"),
        ("nonsense", "expected a status"),
    ],
)
def test_a_lease_that_does_not_hold_is_none(word: str, why: str) -> None:
    async def scenario() -> None:
        with pytest.raises(SourceError, match=rf"192\.0\.2\.9 accepted in vain: .*{why}"):
            await dialogues(Foreign(word))

    in_namespace(scenario)
