"""Packets that were sent before the host knew its address; scapy computes the checksums."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP

from dstmrouter.dti.packet import readdress
from dstmrouter.dti.waiting import INTERIM4

if TYPE_CHECKING:
    from scapy.packet import Packet

addresses = st.integers(0x01000000, 0xDFFFFFFF).map(IPv4Address)


def sent_from(source: IPv4Address | str, payload: Packet) -> bytearray:
    return bytearray(bytes(IP(src=str(source), dst="198.51.100.9", ttl=64) / payload))


@given(addresses, st.binary(max_size=40), st.integers(0, 0xFFFF))
def test_udp_and_icmp_are_as_if_sent_from_the_lease(
    client4: IPv4Address, data: bytes, port: int
) -> None:
    for payload in (UDP(sport=port, dport=53) / data, ICMP(id=port) / data):
        packet = sent_from(INTERIM4, payload)
        assert readdress(packet, client4.packed)
        assert packet == sent_from(client4, payload)


def test_a_udp_packet_without_checksum_stays_without() -> None:
    packet = sent_from(INTERIM4, UDP(chksum=0) / b"x")
    assert readdress(packet, IPv4Address("203.0.113.1").packed)
    assert packet == sent_from("203.0.113.1", UDP(chksum=0) / b"x")


@pytest.mark.parametrize(
    "packet",
    [
        sent_from(INTERIM4, TCP(flags="S")),
        bytearray(bytes(IP(src=str(INTERIM4), flags="MF") / UDP() / bytes(8))),
        bytearray(bytes(IP(src=str(INTERIM4), frag=1, proto=17) / bytes(8))),
        bytearray(bytes(IP(src=str(INTERIM4), proto=17) / bytes(7))),
        bytearray(bytes(IP(src=str(INTERIM4), proto=50) / bytes(20))),
    ],
)
def test_others_are_left_alone(packet: bytearray) -> None:
    before = bytes(packet)
    assert not readdress(packet, IPv4Address("203.0.113.1").packed)
    assert packet == before
