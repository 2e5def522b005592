from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.daemon.packetfacts import read_inner, read_link, read_outer
from tests.pipeline import packets, worlds

UDP = packets.ipv4()
CHAIN = bytes.fromhex("3c00010400000000") + bytes.fromhex("2c00010400000000")


def test_link() -> None:
    link = read_link(packets.ether(UDP, tci=0x6064))
    assert (link.ethertype, link.vlan, link.ip_at) == (0x0800, 100, 18)
    assert link.text == ("02:00:00:00:00:ff -> 02:00:00:00:00:01, 802.1Q tag 100, IPv4, 49 octets")
    assert ", untagged, ethertype 0x88b5, " in read_link(packets.ether(bytes(9))).text
    assert read_link(bytes(13)).text == "13 octets, less than an Ethernet header"
    assert read_link(packets.ether(b"", ethertype=0x8100)).vlan is None


def test_outer() -> None:
    outer = read_outer(packets.ipv6(UDP, traffic_class=0xB8, hop_limit=9))
    assert outer is not None
    assert (outer.src, outer.dst) == (worlds.CLIENTS6[1], worlds.TEP6)
    assert outer.inner == UDP
    for told in ("payload 31 of 31", "hop limit 9", "class 0xb8", "label 0x12345", ", IPv4"):
        assert told in outer.text
    assert "version" not in outer.text
    assert read_outer(bytes(39)) is None


@pytest.mark.parametrize(
    ("octets", "next_header", "told"),
    [
        (packets.OPTIONS + UDP, 60, "destination options, IPv4"),
        (CHAIN[:8] + packets.OPTIONS + UDP, 0, "hop-by-hop options, destination options, IPv4"),
        (b"\x04\0\0\x08\0\0\0\x07" + UDP, 44, "fragment at 8 (the last, id 0x00000007)"),
        (b"\x04\0\0\1\0\0\0\x07" + UDP, 44, "fragment at 0 (more follow, id 0x00000007)"),
        (b"\x04\0\0\0\0\0\0\x07" + UDP, 44, "fragment at 0 (the last, id 0x00000007), IPv4"),
        (b"\x02\0" + bytes(6), 58, "ICMPv6 type 2 code 0"),
        (b"", 58, "ICMPv6"),
        (UDP, 59, "next header 59"),
        (b"\x3c", 60, "destination options"),
        (b"\x3c\x00" * 80, 60, ", ".join(["destination options"] * 17)),
    ],
)
def test_chains_of_headers(octets: bytes, next_header: int, told: str) -> None:
    outer = read_outer(packets.ipv6(octets, next_header=next_header))
    assert outer is not None
    assert outer.text.partition("0x12345, ")[2] == told
    assert outer.inner == (UDP if told.endswith("IPv4") else None)


def test_inner_ends_with_the_ipv6_packet() -> None:
    outer = read_outer(packets.ipv6(UDP) + b"padding of Ethernet")
    assert outer is not None
    assert outer.inner == UDP


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (UDP, ["198.18.7.7 -> 203.0.113.1", "UDP 4711 -> 53", "31 of 31 octets", "TTL 64", "DF"]),
        (packets.ipv4(sum_off=1), ["checksum wrong"]),
        (packets.ipv4(), ["checksum right"]),
        (packets.ipv4(options=bytes(8)), ["header of 28 octets", "checksum right", "UDP 4711 ->"]),
        (packets.ipv4(fragment=0x2003), ["fragment at 24 (more follow, id 0x0007)"]),
        (packets.ipv4(fragment=0x0003), ["fragment at 24 (the last, id 0x0007)", "UDP, "]),
        (packets.ipv4(protocol=1, payload=packets.echo()), ["ICMP type 8 code 0"]),
        (packets.ipv4(protocol=47), ["protocol 47"]),
        (packets.ipv4("127.0.0.1"), ["source never on the Internet"]),
        (packets.ipv4(dst="224.0.0.1"), ["destination never on the Internet"]),
        (packets.ipv4(version=6), ["version 6"]),
        (packets.ipv4(words=15), ["header of 60 octets", "checksum"]),
        (packets.ipv4(words=0), ["header of 0 octets", "a header that is not there"]),
        (packets.ipv4(longer=9), ["40 of 31 octets"]),
    ],
)
def test_inner(packet: bytes, told: list[str]) -> None:
    inner = read_inner(packet)
    assert inner is not None
    for words in told:
        assert words in inner.text


def test_addresses_of_inner() -> None:
    inner = read_inner(UDP)
    assert inner is not None
    assert (inner.src, inner.dst) == (packets.FAR, packets.CLIENT4)
    assert read_inner(UDP[:19]) is None


@given(st.binary(max_size=120))
def test_any_octets_can_be_told(octets: bytes) -> None:
    read_link(octets)
    outer, inner = read_outer(octets), read_inner(octets)
    assert outer is None or isinstance(outer.src, IPv6Address)
    assert inner is None or isinstance(inner.src, IPv4Address)
