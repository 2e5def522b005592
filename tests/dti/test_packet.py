from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP

from dstmrouter.dti.packet import (
    check_outward,
    decapsulate,
    flow_label,
    is_ours,
    partial_checksum_at,
)
from dstmrouter.dti.verdict import Verdict

CLIENT4 = bytes([192, 0, 2, 7])
KEY = b"key of the tests"
DELIVERED = {Verdict.IN_DELIVERED, Verdict.IN_DELIVERED_ECN}
NOT_ECT, ECT1, ECT0, CE = range(4)


def outward(**fields: object) -> memoryview:
    return memoryview(bytes(IP(**{"src": "192.0.2.7", "dst": "198.51.100.9"} | fields) / UDP()))


def inward(**fields: object) -> bytearray:
    header = {"src": "198.51.100.9", "dst": "192.0.2.7"} | fields
    return bytearray(bytes(IP(**header) / UDP(sport=53) / b"answer"))


def test_a_packet_of_the_lease_goes_out() -> None:
    assert check_outward(outward(), CLIENT4) is Verdict.OUT_SENT


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (memoryview(b""), Verdict.OUT_NOT_IPV4),
        (memoryview(bytes([0x60]) + bytes(47)), Verdict.OUT_NOT_IPV4),
        (outward()[:-1], Verdict.OUT_NOT_IPV4),
        (outward(src="192.0.2.8"), Verdict.OUT_SOURCE),
        (outward(dst="224.0.0.22"), Verdict.OUT_NOT_UNICAST),
        (outward(dst="255.255.255.255"), Verdict.OUT_NOT_UNICAST),
    ],
)
def test_what_does_not_go_out(packet: memoryview, verdict: Verdict) -> None:
    assert check_outward(packet, CLIENT4) is verdict


@pytest.mark.parametrize(
    ("packet", "ours"),
    [
        (IP() / UDP(sport=1024, dport=1), True),
        (IP() / UDP(sport=1023, dport=1024), False),
        (IP(options=b"\1" * 4) / TCP(sport=1024, dport=1), True),
        (IP() / TCP(sport=2048, dport=1), False),
        (IP() / ICMP(type=8, id=2047), True),
        (IP() / ICMP(type=0, id=2048), False),
        (IP() / ICMP(type=3), True),
        (IP() / ICMP(type=13, id=2047), False),
        (IP(frag=1, proto=17) / b"the rest of a datagram", True),
        (IP(proto=47) / (b"\4\0" * 8), False),
        (IP(proto=17) / b"\4\0", False),
    ],
)
def test_what_keeps_to_a_port_set(packet: IP, ours: bool) -> None:
    ports = bytes(1024) + b"\1" * 1024 + bytes(65536 - 2048)
    assert is_ours(memoryview(bytes(packet)), ports) == ours


@pytest.mark.parametrize(
    ("inner", "outer", "after"),  # RFC 6040 section 4.2, figure 4; None: dropped
    [
        (NOT_ECT, NOT_ECT, NOT_ECT),
        (NOT_ECT, ECT0, NOT_ECT),
        (NOT_ECT, ECT1, NOT_ECT),
        (NOT_ECT, CE, None),
        (ECT0, NOT_ECT, ECT0),
        (ECT0, ECT0, ECT0),
        (ECT0, ECT1, ECT1),
        (ECT0, CE, CE),
        (ECT1, NOT_ECT, ECT1),
        (ECT1, ECT0, ECT1),
        (ECT1, ECT1, ECT1),
        (ECT1, CE, CE),
        (CE, NOT_ECT, CE),
        (CE, ECT0, CE),
        (CE, ECT1, CE),
        (CE, CE, CE),
    ],
)
def test_ecn_on_exit(inner: int, outer: int, after: int | None) -> None:
    packet = inward(tos=inner)
    verdict, _ = decapsulate(memoryview(packet), outer, CLIENT4)
    if after is None:
        assert verdict is Verdict.IN_ECN
        assert packet == inward(tos=inner)
    else:
        assert verdict in DELIVERED
        assert packet == inward(tos=after)  # scapy made that checksum


ODD = {(NOT_ECT, ECT0), (NOT_ECT, ECT1), (ECT1, ECT0), (CE, ECT1)}


@pytest.mark.parametrize("inner", range(4))
@pytest.mark.parametrize("outer", range(4))
def test_only_unexpected_marks_are_counted_apart(inner: int, outer: int) -> None:
    verdict, _ = decapsulate(memoryview(inward(tos=inner)), outer, CLIENT4)
    assert (verdict is Verdict.IN_DELIVERED_ECN) == ((inner, outer) in ODD)


@given(tos=st.integers(0, 255), traffic_class=st.integers(0, 255), ttl=st.integers(0, 255))
def test_the_checksum_is_right_after_any_change(tos: int, traffic_class: int, ttl: int) -> None:
    packet = inward(tos=tos, ttl=ttl)
    verdict, total_len = decapsulate(memoryview(packet), traffic_class, CLIENT4)
    if verdict in DELIVERED:
        assert packet[1] >> 2 == traffic_class >> 2  # DSCP, RFC 6333 section 7.1
        assert packet == inward(tos=packet[1], ttl=ttl)
        assert total_len == len(packet)


def test_padding_is_cut_off() -> None:
    packet = inward()
    assert decapsulate(memoryview(packet + bytes(18)), 0, CLIENT4) == (
        Verdict.IN_DELIVERED,
        len(packet),
    )


def changed(at: int, value: int) -> memoryview:
    packet = inward()
    packet[at] = value
    return memoryview(packet)


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (memoryview(bytearray(19)), Verdict.IN_MALFORMED),
        (changed(0, 0x65), Verdict.IN_MALFORMED),  # version 6
        (changed(0, 0x44), Verdict.IN_MALFORMED),  # header of 16 octets
        (changed(0, 0x4F), Verdict.IN_MALFORMED),  # header longer than the packet
        (changed(2, 0xFF), Verdict.IN_MALFORMED),  # total length beyond the end
        (changed(8, 1), Verdict.IN_CHECKSUM),
        (memoryview(inward(dst="192.0.2.8")), Verdict.IN_DESTINATION),
        (memoryview(inward(dst="224.0.0.1")), Verdict.IN_DESTINATION),
    ],
)
def test_what_does_not_come_in(packet: memoryview, verdict: Verdict) -> None:
    assert decapsulate(packet, 0, CLIENT4)[0] is verdict


@given(data=st.binary(max_size=80), traffic_class=st.integers(0, 255))
def test_any_octets_get_a_verdict(data: bytes, traffic_class: int) -> None:
    verdict, total_len = decapsulate(memoryview(bytearray(data)), traffic_class, CLIENT4)
    assert verdict not in DELIVERED or 20 <= total_len <= len(data)
    assert check_outward(memoryview(data), CLIENT4) in Verdict


@given(sport=st.integers(0, 65535), dport=st.integers(0, 65535))
def test_a_flow_has_one_label(sport: int, dport: int) -> None:
    first, second = (
        bytes(IP(src="192.0.2.7", dst="198.51.100.9", id=n) / TCP(sport=sport, dport=dport, seq=n))
        for n in (1, 2)
    )
    label = flow_label(memoryview(first), KEY)
    assert 1 <= label <= 0xFFFFF
    assert label == flow_label(memoryview(second), KEY)


def test_labels_tell_flows_and_keys_apart() -> None:
    packets = [memoryview(bytes(IP(dst="198.51.100.9") / TCP(sport=n))) for n in range(1, 101)]
    labels = {flow_label(packet, KEY) for packet in packets}
    assert len(labels) >= 95  # of 100 flows in 2^20 labels, two collide with a chance of 1 in 200
    assert labels != {flow_label(packet, b"another key") for packet in packets}


def test_all_fragments_of_a_packet_have_one_label() -> None:
    first = IP(src="192.0.2.7", dst="198.51.100.9", flags="MF") / UDP(sport=1, dport=2)
    later = IP(src="192.0.2.7", dst="198.51.100.9", frag=1, proto=17) / bytes(8)
    labels = {flow_label(memoryview(bytes(fragment)), KEY) for fragment in (first, later)}
    assert len(labels) == 1


def pseudo_sum(packet: bytes | bytearray) -> int:
    """Sum over source, destination, protocol and length, folded (RFC 9293 section 3.1)."""
    words: tuple[int, ...] = struct.unpack("!4H", packet[12:20])
    total = sum(words) + 6 + len(packet) - 20
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=200))
def test_a_partial_tcp_checksum_is_recognised(data: bytes) -> None:
    packet = bytearray(bytes(IP(src="198.51.100.9", dst="192.0.2.7") / TCP() / data))
    whole = int.from_bytes(packet[36:38], "big")
    packet[36:38] = pseudo_sum(packet).to_bytes(2, "big")
    assert partial_checksum_at(memoryview(packet)) == 20
    if whole != pseudo_sum(packet):
        packet[36:38] = whole.to_bytes(2, "big")
        assert partial_checksum_at(memoryview(packet)) == 0


@given(st.binary(min_size=20, max_size=100))
def test_looking_for_a_partial_checksum_never_fails(data: bytes) -> None:
    assert partial_checksum_at(memoryview(bytes([0x45]) + data[1:])) in {0, 20}
