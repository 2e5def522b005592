from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.client import TunnelSection
from dstmrouter.daemon.client_address import choose6, watch_network
from dstmrouter.errors import DstmError
from lab.netns import PATIENCE_S
from tests.dti.conftest import CLIENT6, STRANGER6, TEP6, wire

if TYPE_CHECKING:
    from tests.dti.conftest import Wire

__all__ = ["wire"]  # a fixture

OTHER6 = IPv6Address("2001:db8::77")

pytestmark = pytest.mark.netns


def test_the_lasting_address_towards_the_server(wire: Wire) -> None:
    with wire.client.entered():
        assert choose6(TunnelSection(), TEP6, None) == CLIENT6
        assert choose6(TunnelSection(interface="eth0"), TEP6, None) == CLIENT6
        wire.client.address("eth0", f"{OTHER6}/64")
        assert choose6(TunnelSection(), TEP6, CLIENT6) == CLIENT6
        assert choose6(TunnelSection(client6=OTHER6), TEP6, CLIENT6) == OTHER6


def test_why_there_is_none(wire: Wire) -> None:
    with wire.client.entered():
        with pytest.raises(DstmError, match=f"client6 {STRANGER6} is no usable address"):
            choose6(TunnelSection(client6=STRANGER6), TEP6, None)
        wire.client.ip("-6", "route", "delete", "default")
        with pytest.raises(DstmError, match=f"no IPv6 route, or no global address, to {TEP6}"):
            choose6(TunnelSection(), TEP6, CLIENT6)


def test_changes_are_told_once_they_have_settled(wire: Wire) -> None:
    async def scenario() -> None:
        told: asyncio.Queue[None] = asyncio.Queue()
        watching = asyncio.create_task(watch_network(lambda: told.put_nowait(None)))
        await asyncio.sleep(0)  # it listens from its first step on
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(2):
                for number in range(20):
                    wire.client.ip("address", "add", f"2001:db8::{number + 100}/64", "dev", "eth0")
                    wire.client.ip("address", "del", f"2001:db8::{number + 100}/64", "dev", "eth0")
                await told.get()
        assert told.qsize() <= 1
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    with wire.client.entered():
        asyncio.run(scenario())
