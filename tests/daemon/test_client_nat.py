"""A client with a share of an address: its packets as they leave, and the answers to them.

The gateway is a mirrored client, which knows no port sets. What counts is seen where the tunnel
ends: every packet that came out of it. `tests/netns/test_shared_address.py` has a real router.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from lab.netns import Namespace, veth
from tests.daemon.client_process import LEASE, MIRROR, PROGRAM, Process
from tests.daemon.port_peer import PORT, PortPeer
from tests.dti.conftest import CLIENT4, TEP4, Wire, wire
from tests.dti.test_natrules import MANY, ONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstmrouter.protocols.granted import PortSet

__all__ = ["wire"]  # a fixture

HOST_FLOWS, LAN_FLOWS = 60, 20  # MANY has 252 ports
FAR = (str(TEP4), PORT)
WITHIN_S = 60.0

pytestmark = pytest.mark.netns


def start(wire: Wire, tmp_path: Path, ports: PortSet | None, *options: object) -> Process:
    shared = () if ports is None else ("--port-set", ports)
    words = ("--backend", "tun", "--route", "default", *LEASE, *shared, *options)
    client = Process(wire.client, tmp_path / "run", *words)
    assert client.is_up(), client.said()
    return client


@pytest.fixture
def peer(wire: Wire, tmp_path: Path) -> Iterator[PortPeer]:
    mirrored = Process(wire.tep, tmp_path / "gateway", "--backend", "tun", *MIRROR)
    assert mirrored.is_up(), mirrored.said()
    with PortPeer(wire.tep, str(TEP4)) as peer:
        yield peer


@pytest.fixture
def lan(wire: Wire) -> Namespace:
    """A host whose IPv4 the client forwards."""
    lan = wire.lab.namespace("lan")
    veth((lan, "eth0"), (wire.client, "lan"))
    lan.address("eth0", "10.0.0.2/24")
    wire.client.address("lan", "10.0.0.1/24")
    wire.client.sysctl({"net.ipv4.ip_forward": "1"})
    lan.route("default", "via", "10.0.0.1")
    return lan


async def over_tcp(number: int) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(*FAR)
    writer.write(b"%05d" % number)
    assert await reader.readexactly(5) == b"%05d" % number
    return writer


async def over_udp(number: int, sock: socket.socket) -> None:
    """A question is asked again, as one that found its range of ports full is lost."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    while True:
        with contextlib.suppress(TimeoutError, PermissionError):
            await loop.sock_sendto(sock, b"%05d" % number, FAR)
            async with asyncio.timeout(1):
                assert await loop.sock_recv(sock, 100) == b"%05d" % number
                return
        await asyncio.sleep(0)


async def flows(count: int) -> None:
    """Have `count` connections and as many UDP flows at the same time."""
    async with asyncio.timeout(WITHIN_S):
        writers = await asyncio.gather(*map(over_tcp, range(count)))
        with contextlib.ExitStack() as undo:
            sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
            for sock in sockets:
                undo.enter_context(sock)
            await asyncio.gather(*map(over_udp, range(count), sockets))
        for writer in writers:
            writer.close()
            await writer.wait_closed()


def talk(space: Namespace, count: int) -> None:
    with space.entered():
        asyncio.run(flows(count))
    space.run("ping", "-c", "2", "-i", "0.2", str(TEP4))


def ports_of(ports: PortSet) -> set[int]:
    return {port for first, last in ports.ranges for port in range(first, last + 1)}


def table(wire: Wire) -> str:
    return wire.client.run("nft", "list", "tables")


@pytest.mark.parametrize("ports", [MANY, ONE], ids=["63 ranges", "1 range"])
def test_only_ports_of_the_set_leave_and_answers_come_back(
    wire: Wire, tmp_path: Path, peer: PortPeer, lan: Namespace, ports: PortSet
) -> None:
    client = start(wire, tmp_path, ports)
    talk(wire.client, HOST_FLOWS)
    talk(lan, LAN_FLOWS)
    assert set(peer.seen) == {socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP}
    for protocol, seen in peer.seen.items():
        assert {source for source, _ in seen} == {str(CLIENT4)}
        assert {port for _, port in seen} <= ports_of(ports)
        if protocol != socket.IPPROTO_ICMP:
            assert len(seen) >= HOST_FLOWS, "every flow has a port of its own"
    assert client.end() == 0
    assert table(wire) == ""


@pytest.mark.usefixtures("peer")
def test_a_port_of_the_set_can_be_called(wire: Wire, tmp_path: Path) -> None:
    start(wire, tmp_path, MANY)
    with wire.client.entered():
        inside = socket.create_server((str(CLIENT4), 1233))
        outside = socket.create_server((str(CLIENT4), 1236))
    with inside, outside, wire.tep.entered():
        with socket.create_connection((str(CLIENT4), 1233), 10):
            pass
        with pytest.raises(TimeoutError):
            socket.create_connection((str(CLIENT4), 1236), 0.5)


def test_what_a_killed_client_leaves(wire: Wire, tmp_path: Path, peer: PortPeer) -> None:
    for after in (ONE, None):
        client = start(wire, tmp_path, MANY)
        client.end(signal.SIGKILL)
        assert "dstm_dti0" in table(wire)
        client = start(wire, tmp_path, after)
        peer.seen.clear()
        with wire.client.entered():
            asyncio.run(flows(5))
        seen = {port for _, port in peer.seen[socket.IPPROTO_TCP]}
        assert (seen <= ports_of(ONE)) == (after is ONE)
        assert (table(wire) == "") == (after is None)
        assert client.end() == 0
        assert table(wire) == ""


def test_a_rehearsal_names_the_table(wire: Wire, tmp_path: Path) -> None:
    words = (*LEASE, "--port-set", MANY, "--run-dir", tmp_path / "run")
    said = wire.client.run(PROGRAM, "check-config", "--static", *map(str, words))
    assert said.startswith("keep to ports 6/8/52 in nftables table dstm_dti0\n")
    assert table(wire) == ""


def test_down_removes_what_is_left(wire: Wire, tmp_path: Path) -> None:
    start(wire, tmp_path, MANY).end(signal.SIGKILL)
    down = (PROGRAM, "down", "--run-dir", tmp_path / "run")
    assert "dti0: removed" in wire.client.run(*down)
    assert table(wire) == ""
    assert "nothing to remove" in wire.client.run(*down)
