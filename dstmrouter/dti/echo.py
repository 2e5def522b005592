"""ICMPv4 echo (RFC 792) as a raw socket sends and receives it: is the other end alive?"""

from __future__ import annotations

import struct
from typing import Final

ECHO_REPLY, ECHO_REQUEST = 0, 8
HEADER: Final = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
IPV4_MIN: Final = 20  # octets; a raw socket delivers the IPv4 header too


def echo_request(identifier: int, sequence: int) -> bytes:
    """One request without data; the kernel adds the IPv4 header."""
    bare = HEADER.pack(ECHO_REQUEST, 0, 0, identifier, sequence)
    total = sum(struct.unpack("!4H", bare))
    checksum = ~(total % 0xFFFF) & 0xFFFF  # RFC 1071; the sum is never 0
    return HEADER.pack(ECHO_REQUEST, 0, checksum, identifier, sequence)


def echo_sequence(packet: bytes, identifier: int) -> int | None:
    """Sequence number of the reply in an IPv4 packet; None if it is no reply to `identifier`."""
    if len(packet) < IPV4_MIN:
        return None
    at = (packet[0] & 15) * 4
    if at < IPV4_MIN or len(packet) < at + HEADER.size:
        return None
    kind, _, _, found, sequence = HEADER.unpack_from(packet, at)
    return int(sequence) if (kind, found) == (ECHO_REPLY, identifier) else None
