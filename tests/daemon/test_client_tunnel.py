"""dti in a client's namespace; the gateway is a raw socket of the test."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import IP, UDP

from dstmrouter.config.client import DEFAULT4, TunnelSection
from dstmrouter.daemon.client_tunnel import DYNADDR, ClientTunnel
from dstmrouter.dti import killswitch
from dstmrouter.errors import DstmError
from dstmrouter.protocols.granted import GrantedLease, PortSet
from lab.netns import PATIENCE_S
from tests.dti.conftest import CLIENT4, CLIENT6, STRANGER6, TEP4, TEP6, Wire, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

__all__ = ["wire"]  # a fixture

LEASE = GrantedLease(client4=CLIENT4, client6=CLIENT6, tep4=TEP4, tep6=TEP6, lifetime_s=900)
OTHER = dataclasses.replace(LEASE, client4=IPv4Address("192.0.2.8"))
CONFIG = TunnelSection(backend="tun", routes=(DEFAULT4,))
FAR = ("198.51.100.9", 53)
WITHIN_S = 5.0

pytestmark = pytest.mark.netns


class Events:
    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.lost: list[DstmError] = []


def run(
    wire: Wire,
    tmp_path: Path,
    scenario: Callable[[ClientTunnel, Events], Coroutine[Any, Any, None]],
    *,
    on_demand: bool = False,
    **config: Any,
) -> None:
    """Run the scenario in the client's namespace; nothing may be left afterwards."""

    async def main() -> None:
        events = Events()
        tunnel = ClientTunnel(
            CONFIG.model_copy(update=config),
            tmp_path / "run",
            on_demand=events.wanted.set if on_demand else None,
            on_lost=events.lost.append,
        )
        async with asyncio.timeout(PATIENCE_S), tunnel:
            await scenario(tunnel, events)

    with wire.client.entered():
        asyncio.run(main())
    assert "dti0" not in wire.client.ip("link")
    assert "5270" not in wire.client.ip("rule")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.fixture
def tep(wire: Wire) -> Any:
    with wire.tep.entered(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, 4) as sock:
        sock.bind((str(TEP6), 0))
        sock.settimeout(WITHIN_S)
        yield sock


async def arrived(tep: socket.socket) -> IP:
    """The next packet of the tunnel that is no multicast report of the host."""
    while True:
        packet = IP(await asyncio.to_thread(tep.recv, 2000))
        if packet.proto == socket.IPPROTO_UDP:
            return packet


async def send_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"question", FAR)


def test_a_lease_comes_changes_and_goes(wire: Wire, tmp_path: Path, tep: socket.socket) -> None:
    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        assert "dti0" not in wire.client.ip("link")
        for lease in (LEASE, LEASE, OTHER):
            await tunnel.set_up(lease)
            await send_udp()
            assert (await arrived(tep)).src == str(lease.client4)
        assert wire.client.ip("-4", "address", "show", "dev", "dti0").count("inet ") == 1
        assert (await tunnel.octets())["out_sent"]["packets"] == 3
        await tunnel.clear()
        assert "dti0" not in wire.client.ip("link")
        await tunnel.clear()
        await tunnel.set_up(LEASE)

    run(wire, tmp_path, scenario)


def test_settings_of_the_lease_and_of_the_file(wire: Wire, tmp_path: Path) -> None:
    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        await tunnel.set_up(dataclasses.replace(LEASE, mtu=1400))
        assert "mtu 1400" in wire.client.ip("link", "show", "dti0")
        assert f"peer {TEP4}" in wire.client.ip("address", "show", "dti0")

    run(wire, tmp_path, scenario)

    async def own_mtu(tunnel: ClientTunnel, _: Events) -> None:
        await tunnel.set_up(dataclasses.replace(LEASE, mtu=1400))
        assert "mtu 1300" in wire.client.ip("link", "show", "dti0")
        assert "default" not in wire.client.ip("route")
        assert "198.51.100.0/24 dev dti0" in wire.client.ip("route")

    run(wire, tmp_path, own_mtu, mtu=1300, routes=(IPv4Network("198.51.100.0/24"),))


def test_what_cannot_be_leaves_nothing(wire: Wire, tmp_path: Path) -> None:
    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        with pytest.raises(DstmError, match=f"client6 {STRANGER6} is no address of this host"):
            await tunnel.set_up(dataclasses.replace(LEASE, client6=STRANGER6))
        assert "dti0" not in wire.client.ip("link")
        wire.client.address("eth0", "198.51.100.7/24")
        wire.client.route("default", "via", "198.51.100.1")
        assert await tunnel.native4() == "0.0.0.0/0 through eth0"
        with pytest.raises(DstmError, match="native IPv4 is not replaced"):
            await tunnel.set_up(LEASE)

    run(wire, tmp_path, scenario)


def test_a_deleted_interface_is_told(wire: Wire, tmp_path: Path) -> None:
    async def scenario(tunnel: ClientTunnel, events: Events) -> None:
        await tunnel.set_up(LEASE)
        wire.client.ip("link", "delete", "dti0")
        while not events.lost:
            await asyncio.sleep(0.01)
        assert "read from the tunnel interface" in str(events.lost[0])

    run(wire, tmp_path, scenario)


def test_the_kill_switch_holds_before_during_and_between_leases(
    wire: Wire, tmp_path: Path, tep: socket.socket
) -> None:
    wire.client.address("eth0", "198.51.100.7/24")
    wire.client.route("default", "via", "198.51.100.1")

    async def closed() -> bool:
        try:
            await send_udp()
        except OSError:
            return True
        return False

    async def scenario(tunnel: ClientTunnel, _: Events) -> None:
        assert await closed()
        assert await tunnel.native4() is None
        for lease in (LEASE, OTHER):
            await tunnel.set_up(lease)
            await send_udp()
            assert (await arrived(tep)).dst == FAR[0]
            assert f"{TEP4} dev dti0" in wire.client.ip("route", "get", str(TEP4))
            await tunnel.clear()
            assert await closed()

    run(wire, tmp_path, scenario, kill_switch=True)
    assert "dev eth0" in wire.client.ip("route", "get", FAR[0])


def test_a_kill_switch_left_by_a_killed_client_is_adopted(wire: Wire, tmp_path: Path) -> None:
    with wire.client.entered():
        killswitch.turn_on()

    async def scenario(_tunnel: ClientTunnel, _: Events) -> None:
        assert wire.client.ip("rule").count("lookup 5270") == 1

    run(wire, tmp_path, scenario, kill_switch=True)


def test_on_demand_the_first_packets_wait_for_the_lease(
    wire: Wire, tmp_path: Path, tep: socket.socket
) -> None:
    async def scenario(tunnel: ClientTunnel, events: Events) -> None:
        assert "192.0.0.2" in wire.client.ip("address", "show", "dti0")
        assert DYNADDR.read_text() == "1\n"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for _ in range(10):
                sock.sendto(b"question", FAR)
            async with asyncio.timeout(WITHIN_S):
                await events.wanted.wait()
            while (await tunnel.octets())["out_no_lease"]["packets"] < 2:
                await asyncio.sleep(0.01)
            await tunnel.set_up(LEASE)
            late = [await arrived(tep) for _ in range(8)]
            assert {packet.src for packet in late} == {str(CLIENT4)}
            answer = IP(src=FAR[0], dst=str(CLIENT4)) / UDP(sport=53, dport=late[0].sport) / b"yes"
            tep.sendto(bytes(answer), (str(CLIENT6), 0))
            async with asyncio.timeout(WITHIN_S):
                assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"yes"
        events.wanted.clear()
        await tunnel.clear()
        assert str(CLIENT4) not in wire.client.ip("address", "show", "dti0")
        assert "192.0.0.2" in wire.client.ip("address", "show", "dti0")
        await send_udp()
        async with asyncio.timeout(WITHIN_S):
            await events.wanted.wait()

    run(wire, tmp_path, scenario, on_demand=True)


@pytest.mark.parametrize(
    "change",
    [
        {"client6": STRANGER6},
        {"client4": IPv4Address("224.0.0.1")},
        {"tep6": CLIENT6},
        {"tep4": CLIENT4},
        {"mtu": 5},
        {"port_set": PortSet(psid_offset=0, psid_len=6, psid=64)},
    ],
)
def test_on_demand_waiting_goes_on_after_a_lease_of_no_use(
    wire: Wire, tmp_path: Path, change: dict[str, Any]
) -> None:
    async def scenario(tunnel: ClientTunnel, events: Events) -> None:
        with pytest.raises(DstmError):
            await tunnel.set_up(dataclasses.replace(LEASE, **change))
        await tunnel.clear()
        await send_udp()
        async with asyncio.timeout(WITHIN_S):
            await events.wanted.wait()

    run(wire, tmp_path, scenario, on_demand=True)
