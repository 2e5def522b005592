from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from scapy.layers.inet import IP

from dstmrouter.wire import ipv4
from tests.oracle_tables import MARTIANS


def header_of(**fields: object) -> np.void:
    octets = bytes(IP(src="192.0.2.77", dst="203.0.113.9", **fields) / b"1234")
    header: np.void = np.frombuffer(octets, ipv4.HEADER, 1)[0]
    return header


def test_fields_are_where_scapy_puts_them() -> None:
    header = header_of(tos=0xBA, id=0x1234, ttl=9, proto=17)
    assert header["version_ihl"] == ipv4.VERSION_IHL
    assert (header["tos"], header["total_len"], header["id"]) == (0xBA, 24, 0x1234)
    assert (header["ttl"], header["protocol"]) == (9, 17)
    assert (header["src"], header["dst"]) == (0xC000024D, 0xCB007109)
    assert header["checksum"] == IP(bytes(header.tobytes())).chksum


@pytest.mark.parametrize(
    ("flags", "offset", "fragment", "stays_whole"),
    [
        ("", 0, False, False),
        ("DF", 0, False, True),
        ("MF", 0, True, False),
        ("", 1, True, False),
        ("", 0x1FFF, True, False),
        ("evil", 0, False, False),
        ("DF+MF", 255, True, True),
    ],
)
def test_masks_know_their_bits(
    flags: str, offset: int, *, fragment: bool, stays_whole: bool
) -> None:
    bits = header_of(flags=flags, frag=offset)["fragment"]
    assert (bits & ipv4.FRAGMENT_BITS != 0) == fragment
    assert (bits & ipv4.FLAG_DF != 0) == stays_whole


def test_every_block_is_martian_if_and_only_if_it_is_on_the_list() -> None:
    upper = np.arange(1 << 16, dtype=">u2").view("<u2")
    found = np.flatnonzero(ipv4.MARTIAN.take(upper)).tolist()
    wanted = [
        block
        for net in MARTIANS
        for block in range(int(net.network_address) >> 16, (int(net.broadcast_address) >> 16) + 1)
    ]
    assert found == wanted
    assert ipaddress.IPv4Network("10.0.0.0/8") not in MARTIANS, "private addresses are routed"


def test_protocols_with_ports_are_those_of_iana() -> None:
    assert set(ipv4.PROTOCOLS_WITH_PORTS) == {6, 17, 33, 132}
