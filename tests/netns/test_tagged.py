"""802.1Q end to end: on both ports, and one-armed, with several tunnel end points."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.zmqctl import Binding
from tests.netns.tagged_network import (
    CLIENT6,
    HOST4,
    PEER,
    TEP6_A,
    TEP6_B,
    US,
    VLAN4,
    VLAN6,
    TaggedNetwork,
)
from tests.pipeline import packets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns
LENT_A, LENT_B = "203.0.113.1", "203.0.113.2"
TEP6 = {LENT_A: TEP6_A, LENT_B: TEP6_B}


@pytest.fixture(
    scope="module",
    params=[(mode, nic4) for mode in ("auto", "packet_mmap") for nic4 in ("nic", "nic4")],
    ids=lambda param: f"{param[0]}-{'one-armed' if param[1] == 'nic' else 'two-nics'}",
)
def network(request: pytest.FixtureRequest) -> Iterator[TaggedNetwork]:
    mode, nic4 = request.param
    with TaggedNetwork(mode, "nic", nic4) as made:
        with made.pusher() as pusher:
            leases = [Binding(ipv4, CLIENT6, tep6, lifetime_s=600) for ipv4, tep6 in TEP6.items()]
            assert pusher.put(leases).applied == 2
        yield made


def tag_of(frame: bytes) -> tuple[str, str, int]:
    """Destination, source and VID of a tagged frame."""
    assert frame[12:14] == b"\x81\x00"
    return frame[:6].hex(":"), frame[6:12].hex(":"), int.from_bytes(frame[14:16]) & 0xFFF


def tunnelled(lent: str, tci: int, tep6: str | None = None) -> bytes:
    inner = packets.ipv4(lent, HOST4)
    outer = packets.ipv6(inner, IPv6Address(CLIENT6), IPv6Address(tep6 or TEP6[lent]))
    return packets.ether(outer, tci=tci)


@pytest.mark.parametrize("priority", [0, 5])
@pytest.mark.parametrize("lent", [LENT_A, LENT_B])
def test_out_of_a_tunnel(network: TaggedNetwork, lent: str, priority: int) -> None:
    network.wire6.send(tunnelled(lent, priority << 13 | VLAN6))
    frame = network.wire4.receive()
    assert tag_of(frame) == (PEER, US, VLAN4)
    assert frame[16:18] == b"\x08\x00"
    sent = packets.ipv4(lent, HOST4, ttl=63)
    assert frame[18:] == sent


@pytest.mark.parametrize("lent", [LENT_A, LENT_B])
def test_into_a_tunnel_of_the_lease_s_end_point(network: TaggedNetwork, lent: str) -> None:
    network.wire4.send(packets.ether(packets.ipv4(HOST4, lent), tci=VLAN4))
    frame = network.wire6.receive()
    assert tag_of(frame) == (PEER, US, VLAN6)
    assert frame[16:18] == b"\x86\xdd"
    assert frame[26:58] == IPv6Address(TEP6[lent]).packed + IPv6Address(CLIENT6).packed
    assert frame[58:] == packets.ipv4(HOST4, lent, ttl=63)


def test_from_client_to_client(network: TaggedNetwork) -> None:
    inner = packets.ipv4(LENT_A, LENT_B)
    outer = packets.ipv6(inner, IPv6Address(CLIENT6), IPv6Address(TEP6_A))
    network.wire6.send(packets.ether(outer, tci=VLAN6))
    frame = network.wire6.receive()
    assert tag_of(frame) == (PEER, US, VLAN6)
    assert frame[26:42] == IPv6Address(TEP6_B).packed
    assert frame[58:] == packets.ipv4(LENT_A, LENT_B, ttl=63)


def test_options_headers_are_skipped(network: TaggedNetwork) -> None:
    inner = packets.ipv4(LENT_A, HOST4, options=bytes.fromhex("94040000"))  # router alert
    hop_by_hop = bytes.fromhex("3c00010400000000")
    outer = packets.ipv6(
        hop_by_hop + packets.OPTIONS + inner,
        IPv6Address(CLIENT6),
        IPv6Address(TEP6_A),
        next_header=0,
    )
    network.wire6.send(packets.ether(outer, tci=VLAN6))
    expected = packets.ipv4(LENT_A, HOST4, options=bytes.fromhex("94040000"), ttl=63)
    assert network.wire4.receive()[18:] == expected


def test_other_tags_stay_with_the_kernel(network: TaggedNetwork) -> None:
    counted = sum(row["packets"] for row in network.control.call("counters")["verdicts"])
    other = [tunnelled(LENT_A, tci) for tci in (0, VLAN6 + 1)]
    untagged = packets.ether(tunnelled(LENT_A, 0)[18:])
    for frame in (*other, untagged, tunnelled(LENT_A, VLAN6)):
        network.wire6.send(frame)
    assert tag_of(network.wire4.receive())[2] == VLAN4
    verdicts = network.control.call("counters")["verdicts"]
    assert sum(row["packets"] for row in verdicts) == counted + 1


def test_ports_are_told_apart(network: TaggedNetwork) -> None:
    ports = network.control.call("ports")["ports"]
    assert [port["vlan"] for port in ports] == [VLAN6, VLAN4]
    assert ports[0]["name"] == "nic.100"
    assert ports[1]["name"] in {"nic.200", "nic4.200"}
    assert network.missing() == {0}


def test_explain_finds_the_port_by_the_tag(network: TaggedNetwork) -> None:
    frames = [packets.ether(packets.ipv4(HOST4, LENT_A), tci=VLAN4)]
    [packet] = network.control.call("explain", frames=frames)["packets"]
    assert packet["verdict"] == "ENCAPSULATED"
    assert (packet["port"][-4:], packet["sent_by"]) == (".200", "nic.100")


def test_ends_in_order(network: TaggedNetwork) -> None:
    assert network.stop_router() == 0
