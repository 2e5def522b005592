"""Pings over a veth pair: the kernel at the other end answers, or is told not to."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.client_keepalive import Prober
from dstmrouter.dti.echo import ECHO_REPLY, ECHO_REQUEST
from lab.netns import PATIENCE_S
from tests.dti.conftest import CLIENT4, TEP4, Wire, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["wire"]  # a fixture

REPLY_S = 0.5
DEAF = {"net.ipv4.icmp_echo_ignore_all": "1"}
HEARING = {"net.ipv4.icmp_echo_ignore_all": "0"}

pytestmark = pytest.mark.netns


class Link:
    """How many packets the tunnel is said to have delivered."""

    def __init__(self) -> None:
        self.received = 0

    async def count(self) -> int:
        return self.received

    def prober(self, client4: IPv4Address = CLIENT4, losses: int = 2) -> Prober:
        return Prober(client4, TEP4, "eth0", reply_s=REPLY_S, losses=losses, received=self.count)


def run(wire: Wire, scenario: Callable[[Link], Coroutine[Any, Any, None]]) -> None:
    wire.client.address("eth0", f"{CLIENT4}/24")
    wire.tep.address("port6", f"{TEP4}/24")

    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scenario(Link())

    with wire.client.entered():
        asyncio.run(main())


def test_an_answer(wire: Wire) -> None:
    async def scenario(link: Link) -> None:
        prober = link.prober()
        assert await prober.answers()
        assert prober.packets == 2

    run(wire, scenario)


def test_no_answer(wire: Wire) -> None:
    async def scenario(link: Link) -> None:
        wire.tep.sysctl(DEAF)
        prober = link.prober()
        assert not await prober.answers()
        assert prober.packets == 2  # sent, none came back

    run(wire, scenario)


def test_an_address_that_is_not_there_is_no_answer(wire: Wire) -> None:
    async def scenario(link: Link) -> None:
        assert not await link.prober(IPv4Address("192.0.2.99")).answers()

    run(wire, scenario)


def test_other_packets_are_as_good_as_an_answer(wire: Wire) -> None:
    async def scenario(link: Link) -> None:
        wire.tep.sysctl(DEAF)
        asking = asyncio.create_task(link.prober().answers())
        await asyncio.sleep(0)  # until it waits for a reply
        await asyncio.sleep(0)
        link.received += 1
        assert await asking

    run(wire, scenario)


def test_an_answer_counts_that_came_while_we_did_not_get_to_run(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(link: Link) -> None:
        wire.tep.sysctl(DEAF)
        loop = asyncio.get_running_loop()
        with wire.tep.entered():
            tep = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with tep:
            asking = asyncio.create_task(link.prober(losses=1).answers())
            await asyncio.sleep(0)  # until it waits for a reply
            await asyncio.sleep(0)
            request = tep.recv(256, socket.MSG_DONTWAIT)[20:]
            assert request[0] == ECHO_REQUEST
            checksum = (int.from_bytes(request[2:4]) + 0x0800) % 0xFFFF
            reply = bytes([ECHO_REPLY, 0]) + checksum.to_bytes(2) + request[4:]
            tep.sendto(reply, (str(CLIENT4), 0))
            now = loop.time()
            monkeypatch.setattr(loop, "time", lambda: now + 10 * REPLY_S)
            assert await asking

    run(wire, scenario)


def test_silence_and_return_are_each_reported_once(wire: Wire) -> None:
    async def scenario(link: Link) -> None:
        reports: asyncio.Queue[bool] = asyncio.Queue()
        watching = asyncio.create_task(link.prober().watch(0.02, reports.put_nowait))
        wire.tep.sysctl(DEAF)
        assert await reports.get() is False
        wire.tep.sysctl(HEARING)
        assert await reports.get() is True
        wire.tep.sysctl(DEAF)
        assert await reports.get() is False
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        assert reports.empty()

    run(wire, scenario)
