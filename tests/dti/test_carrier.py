from __future__ import annotations

import select
import socket
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from dstmrouter.dti.carrier import Carrier
from dstmrouter.dti.verdict import Verdict
from dstmrouter.errors import SystemCallError
from tests.dti.conftest import CLIENT4, CLIENT6, STRANGER6, TEP6

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv6Address

    from lab.netns import Namespace
    from tests.dti.conftest import Wire

pytestmark = pytest.mark.netns

WITHIN_S = 5.0
ENCAP_LIMIT = bytes.fromhex("0400040104010100")  # destination options, RFC 2473 section 4.1.1
INNER = bytes(IP(src=str(CLIENT4), dst="198.51.100.9", tos=0xBA) / UDP(dport=9) / b"data")


def carrier_in(space: Namespace, **options: Any) -> Carrier:
    with space.entered():
        return Carrier(CLIENT6, TEP6, **options)


def raw_in(space: Namespace, address: IPv6Address) -> socket.socket:
    with space.entered():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPIP)
    sock.bind((str(address), 0))
    sock.settimeout(WITHIN_S)
    return sock


@contextmanager
def frames_at(space: Namespace, interface: str) -> Iterator[socket.socket]:
    with space.entered():
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
    with tap:
        tap.bind((interface, 0x86DD))
        tap.settimeout(WITHIN_S)
        yield tap


def next_tunnelled(tap: socket.socket) -> IPv6:
    while True:
        packet = Ether(tap.recv(65535))[IPv6]
        if packet.nh in {4, 44} and packet.src == str(CLIENT6):
            return packet


def received(carrier: Carrier) -> tuple[bytes, int, bool]:
    buffer = memoryview(bytearray(65535))
    assert select.select([carrier], [], [], WITHIN_S)[0], "nothing came"
    taken = carrier.receive(buffer)
    assert taken is not None
    size, traffic_class, from_tep = taken
    return bytes(buffer[:size]), traffic_class, from_tep


def test_the_outer_header_is_what_the_rules_say(wire: Wire) -> None:
    with (
        closing(carrier_in(wire.client)) as carrier,
        frames_at(wire.tep, "port6") as tap,
    ):
        for tos, label in ((0xBA, 0x12345), (0, 0xFFFFF), (3, 1)):
            inner = bytearray(INNER)
            inner[1] = tos
            assert carrier.send(memoryview(inner), label) is Verdict.OUT_SENT
            outer = next_tunnelled(tap)
            assert (outer.tc, outer.fl, outer.hlim, outer.nh) == (tos, label, 64, 4)
            assert (outer.src, outer.dst) == (str(CLIENT6), str(TEP6))
            assert bytes(outer.payload) == bytes(inner)


def test_a_long_packet_is_fragmented_in_ipv6(wire: Wire) -> None:
    inner = bytes(IP(src=str(CLIENT4), dst="198.51.100.9") / UDP() / bytes(1472))
    with closing(carrier_in(wire.client)) as carrier, raw_in(wire.tep, TEP6) as tep:
        assert carrier.send(memoryview(inner), 1) is Verdict.OUT_SENT
        assert tep.recv(65535) == inner


def test_no_route_is_a_verdict(wire: Wire) -> None:
    wire.client.ip("-6", "route", "delete", "default")
    with closing(carrier_in(wire.client)) as carrier:
        assert carrier.send(memoryview(INNER), 1) is Verdict.OUT_REFUSED


@pytest.mark.parametrize("options", [[], [(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, ENCAP_LIMIT)]])
def test_packets_of_the_end_point_arrive(wire: Wire, options: list[Any]) -> None:
    with closing(carrier_in(wire.client)) as carrier, raw_in(wire.tep, TEP6) as tep:
        tep.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xBB)
        tep.sendmsg([INNER], options, 0, (str(CLIENT6), 0))
        assert received(carrier) == (INNER, 0xBB, True)
        assert carrier.receive(memoryview(bytearray(100))) is None


def test_strangers_are_told_apart_and_get_no_answer(wire: Wire) -> None:
    with ExitStack() as undo:
        carrier = undo.enter_context(closing(carrier_in(wire.client)))
        stranger = undo.enter_context(raw_in(wire.tep, STRANGER6))
        tap = undo.enter_context(frames_at(wire.tep, "port6"))
        stranger.sendto(INNER, (str(CLIENT6), 0))
        assert received(carrier) == (INNER, 0, False)
        # whatever the kernel sent in answer to the stranger left before this packet
        carrier.send(memoryview(INNER), 1)
        while (packet := Ether(tap.recv(65535))[IPv6]).nh != 4 or packet.src != str(CLIENT6):
            assert packet.dst != str(STRANGER6) or packet.nh != 58 or packet.payload.type != 4


def test_only_the_given_interface_is_used(wire: Wire) -> None:
    with closing(carrier_in(wire.client, interface="lo")) as carrier:
        assert carrier.send(memoryview(INNER), 1) is Verdict.OUT_REFUSED
    with closing(carrier_in(wire.client, interface="eth0")) as carrier:
        assert carrier.send(memoryview(INNER), 1) is Verdict.OUT_SENT


def test_errors_say_what_was_tried(wire: Wire) -> None:
    with pytest.raises(SystemCallError, match=r"tunnel 2001:db8::7 to .*: No such device"):
        carrier_in(wire.client, interface="none0")
    wire.client.ip("address", "delete", f"{CLIENT6}/64", "dev", "eth0")
    with pytest.raises(SystemCallError, match="Cannot assign requested address"):
        carrier_in(wire.client)
