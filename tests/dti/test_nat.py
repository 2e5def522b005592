"""The table in the kernel, over a normal interface; `tests/daemon/test_client_nat.py` has dti."""

from __future__ import annotations

import dataclasses
import json
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from dstmrouter.dti import nat, pingtime
from dstmrouter.dti.tunnel import Tunnel
from dstmrouter.errors import DstmError
from lab.netns import PATIENCE_S
from tests.dti.conftest import CLIENT4, CLIENT6, TEP4, TEP6
from tests.dti.test_natrules import MANY, ONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.dti.conftest import Wire

TUNNEL = Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6, name="eth0")

pytestmark = pytest.mark.netns


@pytest.fixture
def inside(wire: Wire) -> Iterator[Wire]:
    """The test is in the client's namespace, whose IPv4 interface is a normal one."""
    wire.client.address("eth0", "198.51.100.7/24")
    wire.tep.address("port6", f"{TEP4}/32", "198.51.100.1/24")
    wire.client.route("default", "via", "198.51.100.1")
    with wire.client.entered():
        yield wire


def tables(wire: Wire) -> list[str]:
    listed: list[dict[str, Any]] = json.loads(wire.client.run("nft", "-j", "list", "tables"))[
        "nftables"
    ]
    return [entry["table"]["name"] for entry in listed if "table" in entry]


def outer_port(wire: Wire, sock: socket.socket, port: int = 53) -> int:
    """Send from `sock`; the source port that the packet has at the other end."""
    with wire.tep.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind((str(TEP4), port))
        far.settimeout(PATIENCE_S)
        sock.sendto(b"question", (str(TEP4), port))
        _, (address, found) = far.recvfrom(100)
        assert address == str(CLIENT4)
        return int(found)


def test_it_comes_is_replaced_and_goes(inside: Wire) -> None:
    nat.install(TUNNEL, ONE)
    nat.install(TUNNEL, ONE)
    nat.install(TUNNEL, MANY)
    assert tables(inside) == ["dstm_eth0"]
    assert nat.remove("eth0") is True
    assert tables(inside) == []
    assert nat.remove("eth0") is False


def test_a_port_has_one_mapping_and_keeps_it_if_it_is_of_the_set(inside: Wire) -> None:
    nat.install(TUNNEL, MANY)
    ports = {port for first, last in MANY.ranges for port in range(first, last + 1)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        first = outer_port(inside, sock)
        assert first in ports
        assert outer_port(inside, sock, 54) == first  # RFC 4787 REQ-1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 2257))
        assert outer_port(inside, sock) == 2257


def test_another_set_applies_to_flows_that_there_are(inside: Wire) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        nat.install(TUNNEL, ONE)
        before = outer_port(inside, sock)
        nat.install(TUNNEL, ONE)
        assert outer_port(inside, sock) == before, "nothing is forgotten for the same lease"
        nat.install(TUNNEL, MANY)
        assert outer_port(inside, sock) in range(64723 + 1)
        assert any(first <= outer_port(inside, sock) <= last for first, last in MANY.ranges)


def test_what_is_not_of_the_set_or_has_no_ports_is_dropped(inside: Wire) -> None:
    nat.install(TUNNEL, ONE)
    with inside.tep.entered():
        far = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    with far, socket.socket(socket.AF_INET, socket.SOCK_RAW, 47) as gre:
        with pytest.raises(PermissionError):
            gre.sendto(b"no ports here", (str(TEP4), 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            outer_port(inside, sock)
        assert far.recv(100)[9] == socket.IPPROTO_UDP


def test_a_table_of_somebody_else_is_left_alone(inside: Wire) -> None:
    inside.client.run("nft", "add", "table", "ip", "dstm_eth0")
    with pytest.raises(DstmError, match="table dstm_eth0 exists and is not ours"):
        nat.install(TUNNEL, ONE)
    assert nat.remove("eth0") is False
    assert tables(inside) == ["dstm_eth0"]


@pytest.mark.usefixtures("inside")
def test_without_the_program_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nat, "SBIN", str(tmp_path))
    with pytest.raises(DstmError, match=r"no program nft \(Debian package nftables\)"):
        nat.install(TUNNEL, ONE)
    assert nat.remove("eth0") is False
    (tmp_path / "nft").write_text("#!/bin/sh\necho 'Error: not in this kernel' >&2; exit 1\n")
    (tmp_path / "nft").chmod(0o755)
    with pytest.raises(DstmError, match=r"192.0.2.7 is shared.*nft: Error: not in this kernel"):
        nat.install(TUNNEL, ONE)


def test_names_that_nft_does_not_take(inside: Wire) -> None:
    with pytest.raises(DstmError, match="dti-name"):
        nat.install(dataclasses.replace(TUNNEL, name="a*"), ONE)
    assert nat.remove("a*") is False
    assert tables(inside) == []


def ping_timeouts(wire: Wire) -> list[int]:
    """Seconds that are left of what the kernel remembers of pings."""
    wire.client.run("ping", "-n", "-c", "1", "-W", "5", str(TEP4))
    with NFCTSocket() as tracking:
        return [
            entry.get_attr("CTA_TIMEOUT")
            for entry in tracking.dump()
            if entry.get_attr("CTA_TUPLE_ORIG")
            .get_attr("CTA_TUPLE_PROTO")
            .get_attr("CTA_PROTO_NUM")
            == socket.IPPROTO_ICMP
        ]


def test_r28_pings_are_remembered_for_a_minute_and_the_host_gets_its_setting_back(
    inside: Wire,
) -> None:
    inside.tep.route(f"{CLIENT4}/32", "via", "198.51.100.7")
    before = pingtime.present()
    nat.install(TUNNEL, ONE)
    [left] = ping_timeouts(inside)
    assert 50 <= left <= 60
    nat.install(TUNNEL, MANY)
    assert nat.remove("eth0")
    assert pingtime.present() == before == 30


def test_r28_programs_of_one_host_reach_each_other_by_the_shared_address(inside: Wire) -> None:
    """What they send stays in the host: no packet of theirs comes to the NAT."""
    inside.client.address("eth0", f"{CLIENT4}/32")
    nat.install(TUNNEL, ONE)
    for port in (1024, 5000):  # of the set, and not
        here = str(CLIENT4), port
        with socket.create_server(here) as server, socket.create_connection(here, 5) as caller:
            server.settimeout(5)
            called, peer = server.accept()
            called.close()
            assert peer == caller.getsockname()
            assert peer[0] == str(CLIENT4)


def test_flows_of_others_are_not_forgotten(inside: Wire) -> None:
    nat.install(TUNNEL, ONE)
    other = dataclasses.replace(TUNNEL, client4=IPv4Address("192.0.2.8"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        outer_port(inside, sock)
        nat.install(other, ONE)
        nat.install(TUNNEL, ONE)  # what is forgotten is of 192.0.2.8
        outer_port(inside, sock)
