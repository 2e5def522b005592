"""Octets of packets, right and wrong ones; every field can be set."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tests import oracle
from tests.pipeline import worlds

FAR: Final = IPv4Address("198.18.7.7")
CLIENT4: Final = worlds.leased(1)
UDP_PORTS: Final = struct.pack("!HH", 4711, 53)
OPTIONS: Final = bytes.fromhex("0400040104010100")  # encapsulation limit 4, PadN; follows: IPv4
ETHER: Final = {4: 0x0800, 6: 0x86DD}


def ipv4(
    src: IPv4Address | str = FAR,
    dst: IPv4Address | str = CLIENT4,
    payload: bytes = UDP_PORTS + b"payload",
    *,
    options: bytes = b"",
    tos: int = 0,
    ident: int = 7,
    fragment: int = 0x4000,
    ttl: int = 64,
    protocol: int = 17,
    version: int = 4,
    words: int | None = None,
    longer: int = 0,
    sum_off: int = 0,
) -> bytes:
    """`words` and `longer` lie about the lengths, `sum_off` about the checksum."""
    words = 5 + len(options) // 4 if words is None else words
    total_len = 20 + len(options) + len(payload) + longer
    header = struct.pack(
        "!BBHHHBBH4s4s",
        version << 4 | words,
        tos,
        total_len & 0xFFFF,
        ident,
        fragment,
        ttl,
        protocol,
        0,
        IPv4Address(src).packed,
        IPv4Address(dst).packed,
    )
    header += options
    right = oracle.checksum(header)
    return header[:10] + struct.pack("!H", right ^ sum_off) + header[12:] + payload


def ipv6(
    inner: bytes,
    src: IPv6Address = worlds.CLIENTS6[1],
    dst: IPv6Address = worlds.TEP6,
    *,
    traffic_class: int = 0,
    label: int = 0x12345,
    next_header: int = 4,
    hop_limit: int = 64,
    version: int = 6,
    longer: int = 0,
) -> bytes:
    """`inner` is all that follows the fixed header; `longer` lies about its length."""
    first = version << 28 | traffic_class << 20 | label
    payload_len = (len(inner) + longer) & 0xFFFF
    return struct.pack("!IHBB", first, payload_len, next_header, hop_limit) + (
        src.packed + dst.packed + inner
    )


def ether(packet: bytes, tci: int | None = None, ethertype: int | None = None) -> bytes:
    """An Ethernet frame; `tci` is that of an 802.1Q tag."""
    if ethertype is None:
        ethertype = ETHER.get(packet[0] >> 4, 0x88B5) if packet else 0x88B5
    tag = b"" if tci is None else struct.pack("!HH", 0x8100, tci)
    macs = bytes.fromhex("020000000001") + bytes.fromhex("0200000000ff")
    return macs + tag + struct.pack("!H", ethertype) + packet


def tunnelled(
    client: int = 1, dst: IPv4Address | str = FAR, *, traffic_class: int = 0, **fields: int | bytes
) -> bytes:
    """A frame of a client that holds worlds.leased(client); `fields` are the inner packet's."""
    inner = ipv4(worlds.leased(client), dst, **fields)  # type: ignore[arg-type]  # as they have to be
    return ether(ipv6(inner, worlds.CLIENTS6[client], traffic_class=traffic_class))


def ports(src: int, dst: int, payload: bytes = b"payload") -> bytes:
    """What TCP, UDP, DCCP and SCTP begin with, and more."""
    return struct.pack("!HH", src, dst) + payload


def error(quoted: bytes, kind: int = 3, *, code: int = 1, sum_off: int = 0) -> bytes:
    """An ICMP error about a packet; `sum_off` damages it."""
    message = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    right = oracle.checksum(message)
    return message[:2] + struct.pack("!H", right ^ sum_off) + message[4:]


def echo(kind: int = 8, *, ident: int = 1, data: bytes = b"abcdefgh", code: int = 0) -> bytes:
    """An ICMP echo message with the right checksum."""
    message = struct.pack("!BBHHH", kind, code, 0, ident, 1) + data
    return message[:2] + struct.pack("!H", oracle.checksum(message)) + message[4:]


def icmpv6(
    kind: int,
    code: int,
    rest: int,
    quoted: bytes,
    src: IPv6Address,
    dst: IPv6Address,
    *,
    off: int = 0,
) -> bytes:
    """An IPv6 packet with an ICMPv6 message; `off` spoils its checksum."""
    message = struct.pack("!BBHI", kind, code, 0, rest) + quoted
    pseudo = src.packed + dst.packed + struct.pack("!II", len(message), 58)
    right = oracle.checksum(pseudo + message) ^ off
    message = message[:2] + struct.pack("!H", right) + message[4:]
    return ipv6(message, src, dst, next_header=58)
