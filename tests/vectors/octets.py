"""Frames in octets: where things stand, and changes of them with checksums made anew."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from tests import oracle

if TYPE_CHECKING:
    from collections.abc import Iterable

ETHER: Final = 14
TAG: Final = 4
IPV6: Final = 40
FRAGMENT: Final = 8  # an IPv6 fragment header
IPIP, FRAGMENT_NEXT, ICMPV6 = 4, 44, 58
MORE, OFFSET = 0x2000, 0x1FFF


def address6(text: str) -> IPv6Address:
    """Its octets count, not how it is written."""
    return IPv6Address(text)


def ip_at(frame: bytes) -> int:
    """Where the IP header starts."""
    return ETHER + TAG * (frame[12:14] == b"\x81\x00")


def inner_at(frame: bytes) -> int:
    """Where the IPv4 header starts, in a tunnel or not."""
    at = ip_at(frame)
    return at if frame[at] >> 4 == 4 else at + IPV6


def word(octets: bytes, at: int) -> int:
    """16 bits, big-endian."""
    return int.from_bytes(octets[at : at + 2], "big")


def put(octets: bytes, at: int, new: bytes) -> bytes:
    """The octets at `at` replaced."""
    return octets[:at] + new + octets[at + len(new) :]


def summed4(frame: bytes, at: int) -> bytes:
    """The IPv4 header at `at` with its checksum computed anew."""
    blank = put(frame, at + 10, bytes(2))
    header = blank[at : at + (blank[at] & 15) * 4]
    return put(blank, at + 10, oracle.checksum(header).to_bytes(2, "big"))


def with_ttl(frame: bytes, ttl: int) -> bytes:
    """Another TTL in the IPv4 header, in a tunnel or not."""
    at = inner_at(frame)
    return summed4(put(frame, at + 8, bytes([ttl])), at)


def with_ident(frame: bytes, ident: int, *, keep: int = 0xFFFF) -> bytes:
    """Another identification, and only those flags and offset bits that are in `keep`."""
    at = inner_at(frame)
    changed = struct.pack("!HH", ident, word(frame, at + 6) & keep)
    return summed4(put(frame, at + 4, changed), at)


def summed6(frame: bytes) -> bytes:
    """An ICMPv6 message right behind its IPv6 header with its checksum computed anew."""
    at = ip_at(frame)
    icmp_at = at + IPV6
    blank = put(frame, icmp_at + 2, bytes(2))
    message = blank[icmp_at:]
    pseudo = blank[at + 8 : at + 40] + struct.pack("!II", len(message), ICMPV6)
    return put(blank, icmp_at + 2, oracle.checksum(pseudo + message).to_bytes(2, "big"))


def without_fragment_id(frame: bytes) -> bytes:
    """An IPv6 fragment with identification 0; all else as it is."""
    at = ip_at(frame)
    is_fragment = frame[at] >> 4 == 6 and frame[at + 6] == FRAGMENT_NEXT
    return put(frame, at + IPV6 + 4, bytes(4)) if is_fragment else frame


def whole(frames: Iterable[bytes]) -> list[bytes]:
    """The same with fragments put together: first those of IPv6, then those of IPv4 inside.

    For frames that come in order, of one datagram at a time.
    """
    return _join4(_join6(frames))


def _join6(frames: Iterable[bytes]) -> list[bytes]:
    joined: list[bytes] = []
    for frame in frames:
        at = ip_at(frame)
        if frame[at] >> 4 != 6 or frame[at + 6] != FRAGMENT_NEXT:
            joined.append(frame)
            continue
        behind = at + IPV6
        offset = word(frame, behind + 2) & 0xFFF8
        if offset == 0:
            first = put(frame[:behind], at + 6, frame[behind : behind + 1])
            joined.append(first)
        body = joined[-1] + frame[behind + FRAGMENT :]
        assert len(joined[-1]) == behind + offset, "a piece is missing"
        joined[-1] = put(body, at + 4, (len(body) - behind).to_bytes(2, "big"))
    return joined


def _join4(frames: Iterable[bytes]) -> list[bytes]:
    joined: list[bytes] = []
    for frame in frames:
        at = inner_at(frame)
        offset = (word(frame, at + 6) & OFFSET) * 8
        if offset == 0:
            joined.append(frame)
            continue
        body = joined[-1] + frame[at + 20 :]
        assert len(joined[-1]) == at + 20 + offset, "a piece is missing"
        fields = struct.pack("!H", len(body) - at)
        flags = word(frame, at + 6) & MORE
        body = put(put(body, at + 2, fields), at + 6, flags.to_bytes(2, "big"))
        if at > ip_at(frame):
            body = put(body, at - IPV6 + 4, fields)
        joined[-1] = summed4(body, at)
    return joined
