"""Packets larger than their tunnel: encapsulated, then fragmented in IPv6 (R18, R9, R21)."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
import pytest

from dstmrouter.binding import words6
from tests import oracle
from tests.oracle_fragments import fragments6, masked
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled


@cache
def machine(**rules: Any) -> Machine:
    return Machine(worlds.world(**rules))


def sent(packet: bytes, **rules: Any) -> list[bytes]:
    """IPv6 packets that leave for a packet from the Internet."""
    router = machine(**rules)
    (fate,) = router.run([ether(packet)], worlds.INTERNET, worlds.NOW_S)
    assert fate.verdict == "FRAGMENTED"
    assert [made.verdict for made in router.made] == ["SENT_PIECE"] * len(router.made)
    frames = [fate.frame, *(made.frame for made in router.made)]
    return [frame[14:] for frame in frames if frame is not None]


def test_r18_a_packet_of_1500_octets_in_the_known_example() -> None:
    """04 00 00 01 and 1,448 octets; 04 00 05 a8 and 52 octets."""
    first, second = sent(ipv4(payload=bytes(1480), fragment=0))
    assert first[4:8].hex() == "05b02c40"  # payload length, next header 44, hop limit
    assert second[4:8].hex() == "003c2c40"
    assert first[40:44].hex() == "04000001"
    assert second[40:44].hex() == "040005a8"
    assert first[44:48] == second[44:48]
    assert (len(first), len(second)) == (48 + 1448, 48 + 52)
    assert first[:4] == second[:4]
    assert first[8:40] == second[8:40] == worlds.TEP6.packed + worlds.CLIENTS6[1].packed


@pytest.mark.parametrize("mtu", [1280, 1281, 1400, 1500])
def test_r18_pieces_make_the_packet_that_a_larger_tunnel_would_have_had(mtu: int) -> None:
    packet = ipv4(payload=bytes(range(250)) * 6, fragment=0, tos=0xBA)
    router = machine(path_mtu=1700)
    (whole,) = router.run([ether(packet)], worlds.INTERNET, worlds.NOW_S)
    assert whole.frame is not None
    found = [masked(ether(piece)) for piece in sent(packet, path_mtu=mtu)]
    assert found == [ether(piece) for piece in fragments6(whole.frame[14:], mtu)]


def test_r18_never_an_atomic_fragment() -> None:
    for size in (1439, 1440, 1441, 1448):
        router = machine()
        frame = ether(ipv4(payload=bytes(size), fragment=0))
        (fate,) = router.run([frame], worlds.INTERNET, worlds.NOW_S)
        assert (fate.verdict == "FRAGMENTED") == (size > 1440) == (len(router.made) == 1)
        assert fate.frame is not None
        assert (fate.frame[20] == 44) == (size > 1440)


def test_r18_df_policy() -> None:
    packet = ipv4(payload=bytes(1480))
    (fate,) = machine().run([ether(packet)], worlds.INTERNET, worlds.NOW_S)
    assert fate.verdict == "DROP_TOO_BIG"
    assert len(sent(packet, df_strict=False)) == 2


def test_r18_pieces_of_the_ipv4_packet_where_the_operator_wants_it() -> None:
    packet = ipv4(payload=bytes(range(250)) * 6, fragment=0)
    first, second = sent(packet, fragment_inner=True)
    assert (first[6], second[6]) == (4, 4)
    assert first[40:][6:8] == b"\x20\x00"
    assert second[40:][6:8] == struct.pack("!H", 1440 // 8)
    assert first[60:] + second[60:] == packet[20:]
    assert oracle.checksum(first[40:60]) == oracle.checksum(second[40:60]) == 0
    assert first[1:4] == second[1:4], "one flow label: the flow of a fragment is its addresses"


def test_r9_the_encapsulation_limit_is_sent_where_it_is_wanted() -> None:
    """NH=3C, then 04 00 04 01 LL 01 01 00; what is cut begins with it (R17: 8 octets less)."""
    router = machine(encapsulation_limit=4)
    (fate,) = router.run([ether(ipv4())], worlds.INTERNET, worlds.NOW_S)
    assert fate.verdict == "ENCAPSULATED"
    assert fate.frame is not None
    assert fate.frame[20] == 0x3C
    assert fate.frame[54:62].hex() == "0400040104010100"
    fits = ether(ipv4(payload=bytes(1432), fragment=0))
    (fate,) = router.run([fits], worlds.INTERNET, worlds.NOW_S)
    assert fate.verdict == "ENCAPSULATED"
    first, second = sent(ipv4(payload=bytes(1433), fragment=0), encapsulation_limit=4)
    assert (first[40], second[40]) == (0x3C, 0x3C)
    assert first[48:56].hex() == "0400040104010100"
    assert len(second) == 48 + 13


@pytest.mark.parametrize(
    "frame",
    [
        tunnelled(dst=worlds.leased(3), fragment=0, payload=bytes(1500)),
        ether(
            ipv6(
                ipv4(
                    worlds.leased(1),
                    worlds.TEP4,
                    packets.echo(data=bytes(1480)),
                    protocol=1,
                    fragment=0,
                )
            )
        ),
    ],
)
def test_r16_r15_what_goes_back_into_a_tunnel_is_cut_too(frame: bytes) -> None:
    router = machine()
    (fate,) = router.run([frame], worlds.ACCESS, worlds.NOW_S)
    expected = oracle.fate(router.world, frame, worlds.ACCESS, worlds.NOW_S)
    assert fate.verdict in {"HAIRPINNED", "ECHO_ANSWERED"}
    assert masked(fate.frame or b"") == expected.frame
    assert [masked(made.frame or b"") for made in router.made] == list(expected.more)
    assert len(router.made) == 1


def test_r18_without_frames_packets_are_dropped_and_counted() -> None:
    router = Machine(worlds.world())
    router.spare.free = router.spare.free[:3]
    big, small = ether(ipv4(payload=bytes(1480), fragment=0)), ether(ipv4())
    fates = router.run([big, small, big, big, big, small], worlds.INTERNET, worlds.NOW_S)
    assert [fate.verdict for fate in fates] == [
        "FRAGMENTED",
        "ENCAPSULATED",
        "FRAGMENTED",
        "FRAGMENTED",
        "DROP_NO_FRAME",
        "ENCAPSULATED",
    ]
    assert len(router.spare) == 3


def test_r18_identifications_differ_from_packet_to_packet() -> None:
    router = Machine(worlds.world())
    burst = [ether(ipv4(payload=bytes(1480), fragment=0))] * 200
    fates = [fate for _ in range(3) for fate in router.run(burst, worlds.INTERNET, worlds.NOW_S)]
    assert len({(fate.frame or b"")[58:62] for fate in fates}) == 600


def test_r21_a_learnt_path_mtu_counts_for_its_client_alone_and_ages() -> None:
    router = Machine(worlds.world(), learns=True)
    now_s = worlds.NOW_S
    assert router.tables.path_mtus.learn(words6([worlds.CLIENTS6[1]]), 1300, now_s)
    mine = [ether(ipv4(payload=bytes(size), fragment=0)) for size in (1240, 1241)]
    df = ether(ipv4(payload=bytes(1241)))
    others = ether(ipv4(dst=worlds.leased(3), payload=bytes(1440)))
    found = router.run([*mine, df, others], worlds.INTERNET, now_s + 599)
    names = ["ENCAPSULATED", "FRAGMENTED", "DROP_TOO_BIG", "ENCAPSULATED"]
    assert [fate.verdict for fate in found] == names
    assert len(found[1].frame or b"") == 14 + 48 + 1248
    later = router.run([*mine, df, others], worlds.INTERNET, now_s + 600)
    assert [fate.verdict for fate in later] == ["ENCAPSULATED"] * 4


def test_r21_bursts_of_many_clients_with_and_without_learnt_mtus() -> None:
    router = Machine(worlds.world(), learns=True)
    router.tables.path_mtus.learn(words6([worlds.CLIENTS6[1]]), 1280, worlds.NOW_S)
    sizes = np.random.default_rng(3).integers(8, 1440, 300).tolist()
    burst = [
        ether(ipv4(dst=worlds.leased(1 if size % 3 else 3), payload=bytes(size), fragment=0))
        for size in sizes
    ]
    fates = router.run(burst, worlds.INTERNET, worlds.NOW_S)
    for size, fate in zip(sizes, fates, strict=True):
        small = size % 3 and size + 20 > 1240
        assert fate.verdict == ("FRAGMENTED" if small else "ENCAPSULATED")


def test_r7_compatibility_mode_marks_nothing_outside() -> None:
    """RFC 6040 section 4.3: ECN 00 outside, whatever is inside; DSCP is copied as ever."""
    for tos in (0b11, 0xBA, 0xB9):
        router = machine(ecn_copied=False)
        (fate,) = router.run([ether(ipv4(tos=tos))], worlds.INTERNET, worlds.NOW_S)
        assert fate.frame is not None
        assert struct.unpack_from("!H", fate.frame, 14)[0] >> 4 & 0xFF == tos & 0xFC
        assert fate.frame[55] == tos
