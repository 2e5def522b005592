"""dti for a leasing client whose address is shared; the gateway is a raw socket of the test."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP

from dstmrouter.dti import nat
from dstmrouter.dti.tunnel import Tunnel
from dstmrouter.errors import DstmError
from tests.daemon.test_client_tunnel import FAR, LEASE, OTHER, Events, arrived, run, send_udp, tep
from tests.dti.conftest import CLIENT4, CLIENT6, TEP6, wire
from tests.dti.test_natrules import MANY, ONE

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.daemon.client_tunnel import ClientTunnel
    from dstmrouter.protocols.granted import GrantedLease, PortSet
    from tests.dti.conftest import Wire

__all__ = ["tep", "wire"]  # fixtures

SHARED = dataclasses.replace(LEASE, port_set=MANY)
WITHIN_S = 5.0

pytestmark = pytest.mark.netns


def is_in(port: int, ports: PortSet) -> bool:
    return any(first <= port <= last for first, last in ports.ranges)


def tables(wire: Wire) -> str:
    return wire.client.run("nft", "list", "tables")


def test_each_lease_has_its_ports(wire: Wire, tmp_path: Path, tep: socket.socket) -> None:
    """One socket all the time: what the kernel knows of its flow does not outlive a lease."""
    other_set = dataclasses.replace(LEASE, port_set=ONE)
    other_both = dataclasses.replace(OTHER, port_set=MANY)

    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", 0))
            own = sock.getsockname()[1]
            lease: GrantedLease
            for lease in (SHARED, other_set, other_both, LEASE, OTHER, SHARED):
                await tunnel.set_up(lease)
                sock.sendto(b"question", FAR)
                packet = await arrived(tep)
                assert packet.src == str(lease.client4)
                port = packet[UDP].sport
                assert is_in(port, lease.port_set) if lease.port_set else port == own
                assert bool(tables(wire)) == (lease.port_set is not None)
        await tunnel.clear()
        assert tables(wire) == ""
        await tunnel.set_up(SHARED)

    run(wire, tmp_path, scenario)
    assert tables(wire) == ""


def test_without_its_nat_nothing_leaves(wire: Wire, tmp_path: Path) -> None:
    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        await tunnel.set_up(SHARED)
        wire.client.run("nft", "flush", "ruleset")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", 1236))
            sock.sendto(b"question", FAR)
        while not (counted := await tunnel.octets())["out_port"]["packets"]:
            await asyncio.sleep(0.01)
        assert counted["out_sent"]["packets"] == 0

    run(wire, tmp_path, scenario)


def test_without_nat_there_is_no_tunnel(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nat, "PROGRAM", "no-nft")

    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        with pytest.raises(DstmError, match=f"{CLIENT4} is shared, and our ports need NAT"):
            await tunnel.set_up(SHARED)
        assert "dti0" not in wire.client.ip("link")
        await tunnel.set_up(LEASE)

    run(wire, tmp_path, scenario)


def test_on_demand_packets_that_waited_are_translated(
    wire: Wire, tmp_path: Path, tep: socket.socket
) -> None:
    async def scenario(tunnel: ClientTunnel, events: Events) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(b"question", FAR)
            async with asyncio.timeout(WITHIN_S):
                await events.wanted.wait()
            await tunnel.set_up(SHARED)
            late = await arrived(tep)
            assert late.src == str(CLIENT4)
            assert is_in(late[UDP].sport, MANY)
            answer = (
                IP(src=FAR[0], dst=str(CLIENT4)) / UDP(sport=53, dport=late[UDP].sport) / b"yes"
            )
            tep.sendto(bytes(answer), (str(CLIENT6), 0))
            async with asyncio.timeout(WITHIN_S):
                assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"yes"
        await tunnel.clear()
        assert tables(wire) == ""
        events.wanted.clear()
        await send_udp()
        async with asyncio.timeout(WITHIN_S):
            await events.wanted.wait()

    run(wire, tmp_path, scenario, on_demand=True)


def test_a_killed_clients_nat_is_removed_at_the_start(wire: Wire, tmp_path: Path) -> None:
    with wire.client.entered():
        left = Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6)
        nat.install(left, ONE)

    async def scenario(_tunnel: ClientTunnel, _: Events) -> None:
        assert tables(wire) == ""

    run(wire, tmp_path, scenario)
