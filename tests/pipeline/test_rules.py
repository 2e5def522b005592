"""The packet rules R1-R16 and R30, by their known answers."""

from __future__ import annotations

import dataclasses
import struct
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN, TunnelRules
from tests import oracle, oracle_tables
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled

LEASED: Final = worlds.leased(1)


@cache
def machine(**rules: Any) -> Machine:
    return Machine(worlds.world(**rules))


def fate(frame: bytes, port: int = worlds.ACCESS, **rules: Any) -> oracle.Fate:
    return machine(**rules).run([frame], port, worlds.NOW_S)[0]


def verdict(frame: bytes, port: int = worlds.ACCESS, **rules: Any) -> str:
    return fate(frame, port, **rules).verdict


def sent(frame: bytes, port: int = worlds.ACCESS, **rules: Any) -> bytes:
    result = fate(frame, port, **rules).frame
    assert result is not None
    return result


def inner_of(frame: bytes) -> bytes:
    """The IPv4 packet of an untagged frame, in a tunnel or not."""
    return frame[54:] if frame[12:14] == b"\x86\xdd" else frame[14:]


def test_r1_versions_and_lengths() -> None:
    for wrong in ({"version": 5}, {"words": 4}, {"words": 15}, {"longer": 1}, {"longer": -12}):
        frame = ether(ipv4(**wrong), ethertype=0x0800)  # type: ignore[arg-type]  # all are int
        assert verdict(frame) == "DROP_V4_MALFORMED"
    assert verdict(ether(ipv4(longer=-11))) == "ENCAPSULATED"
    assert verdict(ether(ipv4(options=bytes(4), sum_off=1))) == "DROP_V4_CHECKSUM"


@pytest.mark.parametrize(
    ("edge", "martian"),
    [
        ("0.255.255.255", True),
        ("1.0.0.0", False),
        ("126.255.255.255", False),
        ("127.0.0.0", True),
        ("127.255.255.255", True),
        ("128.0.0.0", False),
        ("169.253.255.255", False),
        ("169.254.0.0", True),
        ("169.255.0.0", False),
        ("223.255.255.255", False),
        ("224.0.0.0", True),
        ("239.255.255.255", True),
        ("240.0.0.0", True),
        ("255.255.255.255", True),
    ],
)
def test_r1_martians(edge: str, *, martian: bool) -> None:
    assert (verdict(ether(ipv4(src=edge))) == "DROP_V4_MARTIAN") == martian
    assert (verdict(tunnelled(dst=edge)) == "DROP_V4_MARTIAN") == martian


def test_r3_r30_unbound_addresses_go_nowhere() -> None:
    for number in (200, 4):
        assert verdict(ether(ipv4(dst=worlds.leased(number)))) == "DROP_NO_BINDING"
        assert verdict(tunnelled(dst=worlds.leased(number))) == "DROP_NO_BINDING"


def test_r4_ttl_and_checksum_in_the_known_example() -> None:
    """TTL 64 -> 63 turns the checksum 4de3 into 4ee3, in both directions."""
    dst, src = IPv4Address("198.51.100.7"), IPv4Address("192.0.2.1")
    payload = bytes(16)
    packet = ipv4(src, dst, payload, tos=0xBA, ident=0, protocol=1)
    assert packet[:20].hex() == "45ba0024000040004001" + "4de3" + "c0000201c6336407"
    base = worlds.world(tep6=(worlds.TEP6,), tep4=None, flow_label=0x5A3C1)
    held = dataclasses.replace(worlds.HELD[LEASED])
    pools = (IPv4Network("198.51.100.0/24"),)
    world = dataclasses.replace(base, pools=pools, bindings={dst: held}, shared={})
    (result,) = Machine(world).run([ether(packet)], worlds.INTERNET, 0)
    assert result.frame is not None
    assert result.frame[54:74].hex() == "45ba0024000040003f01" + "4ee3" + "c0000201c6336407"
    assert result.frame[14:22].hex() == "6ba5a3c100240440"  # R5, R6, R7 and R8


@pytest.mark.parametrize(
    ("ttl", "goes_on"), [(0, False), (1, False), (2, True), (64, True), (255, True)]
)
def test_r4_last_hop(ttl: int, *, goes_on: bool) -> None:
    for frame in (ether(ipv4(ttl=ttl)), tunnelled(ttl=ttl), tunnelled(dst=LEASED, ttl=ttl)):
        result = fate(frame)
        assert (result.verdict == "DROP_TTL") == (not goes_on)
        if result.frame is not None:
            assert inner_of(result.frame)[8] == ttl - 1


def test_r5_outer_header() -> None:
    outer = sent(ether(ipv4(dst=worlds.leased(3), payload=bytes(100))), hop_limit=17)[14:54]
    assert outer[0] >> 4 == 6
    assert outer[4:8] == struct.pack("!HBB", 120, 4, 17)
    assert outer[8:24] == worlds.TEP6_C.packed
    assert outer[24:40] == worlds.CLIENTS6[3].packed


@pytest.mark.parametrize("tos", [0, 0b11, 0xB8, 0xBA, 0xFF])
def test_r7_traffic_class(tos: int) -> None:
    (uniform,) = struct.unpack_from("!H", sent(ether(ipv4(tos=tos))), 14)
    (pipe,) = struct.unpack_from("!H", sent(ether(ipv4(tos=tos)), dscp_uniform=False), 14)
    assert uniform >> 4 & 0xFF == tos
    assert pipe >> 4 & 0xFF == tos & 0b11  # RFC 6040 4.1: ECN is copied in any case


def test_r9_the_encapsulation_limit_is_accepted() -> None:
    """Outer header as it is with the option: next header 3c, and eight octets more."""
    inner = ipv4(LEASED, packets.FAR)
    frame = ether(ipv6(packets.OPTIONS + inner, next_header=60))
    assert packets.OPTIONS.hex() == "0400040104010100"
    assert inner_of(sent(frame)) == inner_of(sent(ether(ipv6(inner))))


def test_r11_padding_and_trailing_octets_are_trimmed() -> None:
    inner = ipv4(LEASED, packets.FAR)
    assert sent(ether(ipv6(inner + bytes(9))) + bytes(40)) == sent(ether(ipv6(inner)))


def test_r11_chains_of_options() -> None:
    inner = ipv4(LEASED, packets.FAR)
    option = bytes.fromhex("3c00010400000000")
    for number in range(6):
        chain = (option * number)[: 8 * number - 8] + packets.OPTIONS if number else b""
        frame = ether(ipv6(chain + inner, next_header=60 if number else 4))
        assert verdict(frame) == ("DECAPSULATED" if number <= 4 else "DROP_NOT_TUNNEL")
    late_hop_by_hop = bytes.fromhex("0000010400000000") + packets.OPTIONS + inner
    assert verdict(ether(ipv6(late_hop_by_hop, next_header=60))) == "DROP_NOT_TUNNEL"
    assert verdict(ether(ipv6(packets.OPTIONS + inner, next_header=0))) == "DECAPSULATED"


def test_r12_spoofing_is_seen() -> None:
    foreign = ether(ipv6(ipv4(LEASED, packets.FAR), worlds.CLIENTS6[3]))
    assert verdict(foreign) == "DROP_SPOOF_CLIENT"
    for src in (worlds.leased(200), worlds.leased(4), worlds.TEP4, packets.FAR):
        assert verdict(ether(ipv6(ipv4(src, "8.8.8.8")))) == "DROP_SPOOF_ADDRESS"


@pytest.mark.parametrize("inner", range(4))
@pytest.mark.parametrize("outer", range(4))
def test_r14_ecn_at_exit(inner: int, outer: int) -> None:
    """RFC 6040 figure 4, for packets to the Internet, to another client and to tep4."""
    leaves, unusual = oracle_tables.ECN_AT_EXIT[inner, outer]
    result = fate(tunnelled(traffic_class=0xB8 | outer, tos=0x28 | inner))
    if leaves is None:
        assert result == oracle.Fate("DROP_ECN_CE")
        return
    assert result.verdict == ("DECAPSULATED_ECN_ODD" if unusual else "DECAPSULATED")
    assert result.frame is not None
    assert result.frame[15] == 0xB8 | leaves
    assert oracle.checksum(result.frame[14:34]) == 0
    pipe = sent(tunnelled(traffic_class=0xB8 | outer, tos=0x28 | inner), dscp_uniform=False)
    assert pipe[15] == 0x28 | leaves
    hairpin = sent(tunnelled(dst=LEASED, traffic_class=0xB8 | outer, tos=0x28 | inner))
    assert inner_of(hairpin)[1] == 0xB8 | leaves


def test_r16_hairpin_can_be_switched_off_and_never_leaves_for_the_internet() -> None:
    for number in (1, 3, 200, 4, 5):
        frame = tunnelled(dst=worlds.leased(number))
        assert fate(frame).port in {worlds.ACCESS, None}
        assert fate(frame, hairpin=False) == oracle.Fate("DROP_HAIRPIN_OFF")


@pytest.mark.parametrize(("payload", "fits"), [(1440, True), (1441, False)])
def test_r17_r18_tunnel_mtu(payload: int, *, fits: bool) -> None:
    assert (verdict(ether(ipv4(payload=bytes(payload)))) == "ENCAPSULATED") == fits
    assert (verdict(ether(ipv4(payload=bytes(payload - 1)))) == "ENCAPSULATED") >= fits


def test_scapy_reads_what_we_wrote() -> None:
    """Checksums that scapy computes for our output are those that stand in it."""
    built = Ether() / IP(src="198.18.7.7", dst=str(LEASED), ttl=9, tos=0xBA) / UDP() / b"hello"
    frame = sent(bytes(built))
    seen = Ether(frame)
    assert seen[IPv6].nh == 4
    assert (seen[IPv6].plen, seen[IPv6].tc) == (seen[IP].len, 0xBA)
    assert (seen[IP].ttl, seen[UDP].load) == (8, b"hello")
    again = seen[IP].copy()
    del again.chksum
    assert bytes(again) == frame[54:]


def test_scapy_builds_a_tagged_ping_and_reads_the_answer() -> None:
    ping = IP(src=str(LEASED), dst=str(worlds.TEP4), ttl=1) / ICMP(id=9, seq=5) / b"data"
    outer = IPv6(src=str(worlds.CLIENTS6[1]), dst=str(worlds.TEP6_B), nh=4)
    seen = Ether(sent(bytes(Ether() / Dot1Q(vlan=77) / outer / ping), access_vlan=77))
    assert seen[Dot1Q].vlan == 77
    answer = seen[IP]
    assert (answer.src, answer.dst, answer.ttl) == (str(worlds.TEP4), str(LEASED), 64)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 9, 5)
    again = answer.copy()
    del again.chksum, again[ICMP].chksum
    assert bytes(again) == bytes(answer)


def test_rules_can_be_shared_but_not_changed() -> None:
    rules = TunnelRules(tep6=(worlds.TEP6,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.hop_limit = 1  # type: ignore[misc]  # that is what is tested
    assert TUNNEL_HEADER_LEN == 40
