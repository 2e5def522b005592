from __future__ import annotations

from ipaddress import IPv6Address

import numpy as np
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt

from dstmrouter.binding import address6, words6
from dstmrouter.wire import ipv6

SRC, DST = IPv6Address("2001:db8::1"), IPv6Address("fd00:1:2:3:4:5:6:7")


def test_fields_are_where_scapy_puts_them() -> None:
    built = IPv6(src=str(SRC), dst=str(DST), tc=0xBA, fl=0x5A3C1, nh=4, hlim=9) / b"1234"
    header = np.frombuffer(bytes(built), ipv6.HEADER, 1)[0]
    assert header["vtc_flow"] == (
        6 << ipv6.VERSION_SHIFT | 0xBA << ipv6.TRAFFIC_CLASS_SHIFT | 0x5A3C1
    )
    assert header["vtc_flow"] & ipv6.FLOW_LABEL_MASK == 0x5A3C1
    assert (header["payload_len"], header["next_header"], header["hop_limit"]) == (4, 4, 9)
    assert address6(header["src"]) == SRC
    assert address6(header["dst"]) == DST
    assert header["src"].tolist() == words6([SRC])[0].tolist()


def test_tables_by_the_first_octets_say_version_and_traffic_class() -> None:
    first = np.arange(1 << 16, dtype=">u2")
    wire = first.view("<u2")
    native = first.astype(np.uint16)
    assert np.array_equal(ipv6.NOT_VERSION_6.take(wire), native >> 12 != 6)
    assert np.array_equal(ipv6.TRAFFIC_CLASS.take(wire), native >> 4 & 0xFF)


def test_options_headers() -> None:
    octets = bytes(IPv6ExtHdrDestOpt(nh=4, options=[]))
    extension = np.frombuffer(octets, ipv6.EXTENSION, 1)[0]
    assert (extension["next_header"], extension["len8"]) == (4, 0)
    assert len(octets) == 8
