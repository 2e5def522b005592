"""Frames for the tests, built field by field."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

US = bytes.fromhex("020000000001")
THEM = bytes.fromhex("020000000002")
PEER4 = IPv4Address("192.0.2.99")
PEER6 = IPv6Address("2001:db8:2::99")


def ethernet(ethertype: int, payload: bytes, *, vid: int | None = None, dst: bytes = US) -> bytes:
    tag = b"" if vid is None else struct.pack("!HH", 0x8100, 0x6000 | vid)  # priority 3
    return dst + THEM + tag + struct.pack("!H", ethertype) + payload


def ones_complement(octets: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(dst: str | IPv4Address, payload: bytes = b"", *, protocol: int = 17) -> bytes:
    def header(checksum: int) -> bytes:
        addresses = PEER4.packed + IPv4Address(dst).packed
        length = 20 + len(payload)
        return struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, protocol, checksum) + addresses

    return header(ones_complement(header(0))) + payload


def udp4(dst: str, port: int, payload: bytes) -> bytes:
    """An IPv4 packet with UDP, without its optional checksum."""
    return ipv4(dst, struct.pack("!HHHH", 4711, port, 8 + len(payload), 0) + payload)


def ipv6(dst: str | IPv6Address, next_header: int, payload: bytes = bytes(24)) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return header + PEER6.packed + IPv6Address(dst).packed + payload
