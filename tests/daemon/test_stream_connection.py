"""One connection over a transport that does as it is told."""

from __future__ import annotations

import asyncio
import collections
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon import stream_connection
from dstmrouter.daemon.stream_connection import Connection, Peer, PeerDroppedError, StreamTally
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dstmrouter.daemon.tally import Tally

PEER = Peer(IPv6Address("2001:db8::1"), 4321)


class Puppet(asyncio.Transport):
    """Notes what it is told; `stuck` is what the kernel does not take."""

    def __init__(self, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self.told: list[str] = []
        self.written = b""
        self.stuck = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is None

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


class Setting:
    def __init__(self, extra: dict[str, Any] | None = None) -> None:
        self.counts: collections.Counter[Tally] = collections.Counter()
        self.transport = Puppet(extra)
        self.connection = Connection(PEER, self.counts)
        self.connection.connection_made(self.transport)

    def read_into(self, octets: bytes) -> None:
        """Do as asyncio does when octets are there."""
        self.connection.get_buffer(-1)[: len(octets)] = octets
        self.connection.buffer_updated(len(octets))


def connected(
    scenario: Callable[[Setting], Coroutine[Any, Any, None]], extra: dict[str, Any] | None = None
) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scenario(Setting(extra))

    asyncio.run(run())


async def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that has run as far as it can."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


def test_octets_come_to_whoever_waits_and_are_kept_for_whoever_comes() -> None:
    async def scenario(setting: Setting) -> None:
        waiting = await begun(setting.connection.receive())
        setting.read_into(b"one")
        setting.read_into(b"two")  # before the other has had its turn
        assert await waiting == b"onetwo"
        setting.read_into(b"three")
        assert await setting.connection.receive(2) == b"th"
        assert await setting.connection.receive() == b"ree"

    connected(scenario)


def test_reading_stops_while_nobody_asks() -> None:
    async def scenario(setting: Setting) -> None:
        for octets in (b"one", b"two", b"three"):
            setting.read_into(octets)
        assert setting.transport.told == ["pause"]
        assert await setting.connection.receive(6) == b"onetwo"
        assert setting.transport.told == ["pause"]
        assert await setting.connection.receive(6) == b"three"
        assert setting.transport.told == ["pause", "resume"]

    connected(scenario)


@pytest.mark.parametrize(("extra", "goes_on"), [({}, True), ({"sslcontext": object()}, False)])
def test_after_the_last_octet_there_are_none(extra: dict[str, Any], goes_on: bool) -> None:
    async def scenario(setting: Setting) -> None:
        waiting = await begun(setting.connection.receive())
        assert setting.connection.eof_received() is goes_on
        assert await waiting == b""
        assert await setting.connection.receive() == b""

    connected(scenario, extra)


def test_a_deadline_that_moves_on_is_kept() -> None:
    async def scenario(setting: Setting) -> None:
        connection = setting.connection
        connection.deadline = time.monotonic() + 3600
        waiting = await begun(connection.receive())
        setting.read_into(b"x")
        assert await waiting == b"x"
        connection.deadline = time.monotonic() + 0.05  # earlier than the timer that runs
        waiting = await begun(connection.receive())
        connection.deadline = time.monotonic() + 0.1  # later, while it waits
        with pytest.raises(PeerDroppedError):
            await waiting
        assert time.monotonic() >= connection.deadline
        assert setting.counts == {StreamTally.IDLE: 1}

    connected(scenario)


def test_without_a_deadline_nobody_is_dropped() -> None:
    async def scenario(setting: Setting) -> None:
        connection = setting.connection
        connection.deadline = time.monotonic()
        with pytest.raises(PeerDroppedError):
            await connection.receive()
        connection.deadline = None
        waiting = await begun(connection.receive())
        connection._look()
        setting.read_into(b"x")
        assert await waiting == b"x"

    connected(scenario)


def test_sending_waits_for_the_kernel() -> None:
    async def scenario(setting: Setting) -> None:
        await setting.connection.send(b"one")
        setting.connection.pause_writing()
        sending = await begun(setting.connection.send(b"two"))
        assert not sending.done()
        setting.connection.resume_writing()
        await sending
        assert setting.transport.written == b"onetwo"

    connected(scenario)


def test_a_peer_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(setting: Setting) -> None:
        setting.connection.pause_writing()
        with pytest.raises(PeerDroppedError):
            await setting.connection.send(b"one")
        assert setting.counts == {StreamTally.SLOW: 1}

    monkeypatch.setattr(stream_connection, "SEND_S", 0.01)
    connected(scenario)


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_the_end_of_the_transport_ends_all_waits(error: Exception | None) -> None:
    async def scenario(setting: Setting) -> None:
        connection = setting.connection
        connection.pause_writing()
        connection.deadline = time.monotonic() + 3600
        sending = await begun(connection.send(b"one"))
        waiting = await begun(connection.receive())
        connection.connection_lost(error)
        await sending
        if error is None:
            assert await waiting == b""
            await connection.close()
            return
        with pytest.raises(ConnectionResetError):
            await waiting
        for work in (connection.receive(), connection.send(b"x"), connection.close()):
            with pytest.raises(ConnectionResetError):
                await work

    connected(scenario)


def test_closing_waits_for_what_is_not_sent() -> None:
    async def scenario(setting: Setting) -> None:
        await setting.connection.close()  # nothing to wait for
        setting.transport.stuck = 3
        closing = await begun(setting.connection.close())
        assert not closing.done()
        setting.connection.connection_lost(None)
        await closing
        assert setting.transport.told == ["close", "close"]

    connected(scenario)


def test_tls_that_is_not_ended_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(setting: Setting) -> None:
        await setting.connection.close()
        setting.connection.abort()
        assert setting.transport.told == ["close", "abort"]

    monkeypatch.setattr(stream_connection, "SEND_S", 0.01)
    connected(scenario, {"sslcontext": object(), "peercert": {"subject": ()}})


def test_a_certificate_is_told() -> None:
    async def scenario(setting: Setting) -> None:
        assert setting.connection.certificate == {"subject": ()}

    connected(scenario, {"peercert": {"subject": ()}})
