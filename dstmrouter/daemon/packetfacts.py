"""What a packet says of itself, as text for people; it decides nothing.

The layouts are those of `dstmrouter.wire`, read one packet at a time. Whatever is cut off, wrong or
unknown is told as far as it goes.
"""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.wire import checksum, ether, ipv4, ipv6

if TYPE_CHECKING:
    from collections.abc import Iterator

_ETHERTYPES: Final = {ether.ETHERTYPE_IPV4: "IPv4", ether.ETHERTYPE_IPV6: "IPv6", 0x0806: "ARP"}
_PROTOCOLS: Final = {1: "ICMP", 6: "TCP", 17: "UDP", 33: "DCCP", 132: "SCTP"}
_ROUTING: Final = 43
_EXTENSIONS: Final = {
    ipv6.NEXT_HOP_BY_HOP: "hop-by-hop options",
    ipv6.NEXT_DESTINATION_OPTIONS: "destination options",
    _ROUTING: "routing header",
    ipv6.NEXT_FRAGMENT: "fragment",
}
_HEADERS: Final = _EXTENSIONS | {ipv6.NEXT_IPV4: "IPv4", ipv6.NEXT_ICMPV6: "ICMPv6"}
_CHAIN_MAX: Final = 16  # extension headers that are told
_FRAGMENT_LEN: Final = 8  # RFC 8200 section 4.5
_OFFSET_BITS: Final = 0x1FFF  # of the third 16-bit word pair of IPv4, in units of 8 octets


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """The Ethernet header: what it says, the ethertype behind a tag, where the packet begins."""

    text: str
    ethertype: int
    vlan: int | None
    ip_at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Outer:
    """An IPv6 header with its extension headers; `inner` are the octets of an IPv4 packet in it."""

    text: str
    src: IPv6Address
    dst: IPv6Address
    inner: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Inner:
    """An IPv4 packet."""

    text: str
    src: IPv4Address
    dst: IPv4Address


def read_link(frame: bytes) -> Link:
    """What the Ethernet header of a frame says."""
    if len(frame) < ether.HEADER_LEN:
        return Link(f"{len(frame)} octets, less than an Ethernet header", 0, None, len(frame))
    [header] = np.frombuffer(frame, ether.HEADER, 1)
    ethertype, vlan, ip_at = int(header["type"]), None, ether.HEADER_LEN
    if ethertype == ether.ETHERTYPE_VLAN and len(frame) >= ether.TAGGED_LEN:
        [tagged] = np.frombuffer(frame, ether.TAGGED, 1)
        ethertype, vlan = int(tagged["type"]), int(tagged["tci"]) & ether.VID_MASK
        ip_at = ether.TAGGED_LEN
    macs = f"{frame[6:12].hex(':')} -> {frame[:6].hex(':')}"
    tag = "untagged" if vlan is None else f"802.1Q tag {vlan}"
    kind = _ETHERTYPES.get(ethertype, f"ethertype 0x{ethertype:04x}")
    return Link(f"{macs}, {tag}, {kind}, {len(frame)} octets", ethertype, vlan, ip_at)


def read_outer(packet: bytes) -> Outer | None:
    """What the IPv6 headers of a packet say; None if the fixed header is not all there."""
    if len(packet) < ipv6.HEADER_LEN:
        return None
    [header] = np.frombuffer(packet, ipv6.HEADER, 1)
    src, dst = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    first, payload_len = int(header["vtc_flow"]), int(header["payload_len"])
    chain = list(_chain(packet, int(header["next_header"])))
    kind, at = chain[-1]
    words = [
        f"{src} -> {dst}",
        f"payload {payload_len} of {len(packet) - ipv6.HEADER_LEN} octets",
        f"hop limit {header['hop_limit']}",
        f"traffic class 0x{first >> ipv6.TRAFFIC_CLASS_SHIFT & 0xFF:02x}",
        f"flow label 0x{first & ipv6.FLOW_LABEL_MASK:05x}",
        ", ".join(_header_text(packet, *link) for link in chain),
    ]
    if first >> ipv6.VERSION_SHIFT != 6:
        words.insert(0, f"version {first >> ipv6.VERSION_SHIFT}")
    end = min(ipv6.HEADER_LEN + payload_len, len(packet))
    return Outer(", ".join(words), src, dst, packet[at:end] if kind == ipv6.NEXT_IPV4 else None)


def _chain(packet: bytes, kind: int) -> Iterator[tuple[int, int]]:
    """Kinds of the headers behind the fixed one, and where each starts."""
    at = ipv6.HEADER_LEN
    yield kind, at
    for _ in range(_CHAIN_MAX):
        if kind not in _EXTENSIONS or at + 2 > len(packet):
            return
        fragment = kind == ipv6.NEXT_FRAGMENT
        if fragment and packet[at + 2 : at + 4] != b"\0\0":
            return  # what follows is the middle of a datagram, or only its beginning
        kind, at = packet[at], at + (_FRAGMENT_LEN if fragment else (packet[at + 1] + 1) * 8)
        yield kind, at


def _header_text(packet: bytes, kind: int, at: int) -> str:
    name = _HEADERS.get(kind, f"next header {kind}")
    octets = packet[at : at + _FRAGMENT_LEN]
    if kind == ipv6.NEXT_FRAGMENT and len(octets) == _FRAGMENT_LEN:
        _, _, bits, ident = struct.unpack("!BBHI", octets)
        more = "more follow" if bits & 1 else "the last"
        return f"{name} at {bits & ~7} ({more}, id 0x{ident:08x})"
    if kind == ipv6.NEXT_ICMPV6 and len(octets) >= 2:
        return f"{name} type {octets[0]} code {octets[1]}"
    return name


def read_inner(packet: bytes) -> Inner | None:
    """What the IPv4 header of a packet says; None if it is not all there."""
    if len(packet) < ipv4.HEADER_LEN:
        return None
    [header] = np.frombuffer(packet, ipv4.HEADER, 1)
    src, dst = IPv4Address(int(header["src"])), IPv4Address(int(header["dst"]))
    header_len = (int(header["version_ihl"]) & 0xF) * 4
    [bits] = struct.unpack("!H", packet[6:8])
    words = [
        f"{src} -> {dst}",
        _transport_text(packet[header_len:], int(header["protocol"]), bits & _OFFSET_BITS),
        f"{header['total_len']} of {len(packet)} octets",
        f"TTL {header['ttl']}",
        f"TOS 0x{int(header['tos']):02x}",
        *_fragment_words(bits, int(header["id"])),
        *_odd_words(packet, header, header_len),
        _checksum_text(packet[:header_len]),
    ]
    return Inner(", ".join(words), src, dst)


def _transport_text(payload: bytes, protocol: int, offset: int) -> str:
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    if offset or len(payload) < 4:
        return name
    if protocol == ipv4.PROTOCOL_ICMP:
        return f"{name} type {payload[0]} code {payload[1]}"
    if protocol in ipv4.PROTOCOLS_WITH_PORTS:
        return "{} {} -> {}".format(name, *struct.unpack("!HH", payload[:4]))
    return name


def _fragment_words(bits: int, ident: int) -> Iterator[str]:
    if bits & 0x4000:
        yield "DF"
    if bits & (0x2000 | _OFFSET_BITS):
        more = "more follow" if bits & 0x2000 else "the last"
        yield f"fragment at {(bits & _OFFSET_BITS) * 8} ({more}, id 0x{ident:04x})"


def _odd_words(packet: bytes, header: np.void, header_len: int) -> Iterator[str]:
    version = int(header["version_ihl"]) >> 4
    if version != 4:
        yield f"version {version}"
    if header_len != ipv4.HEADER_LEN:
        yield f"header of {header_len} octets"
    for name, at in (("source", 12), ("destination", 16)):
        if ipv4.MARTIAN[int.from_bytes(packet[at : at + 2], "little")]:
            yield f"{name} never on the Internet"


def _checksum_text(header: bytes) -> str:
    if len(header) < ipv4.HEADER_LEN or len(header) % 4:
        return "checksum of a header that is not there"
    [total] = checksum.row_sums(np.frombuffer(header, "<u4").reshape(1, -1))
    return "checksum wrong" if total else "checksum right"
