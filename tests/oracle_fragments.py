"""How packets are to be cut, in plain Python: RFC 8200 section 4.5, RFC 791 section 3.2.

Identifications of IPv6 fragments are chosen by the router; here they are 0, and `masked` makes
those of others so.
"""

from __future__ import annotations

import struct

EXTENSIONS = (0, 60)


def fragments6(packet: bytes, mtu: int) -> list[bytes]:
    """An IPv6 packet without extension headers in front, in pieces of `mtu` octets at most."""
    header, part = packet[:40], packet[40:]
    size = (mtu - 48) // 8 * 8
    pieces = []
    for start in range(0, len(part), size):
        octets = part[start : start + size]
        more = start + size < len(part)
        fragment = struct.pack("!BBHI", header[6], 0, start | more, 0)
        head = header[:4] + struct.pack("!HB", len(octets) + 8, 44) + header[7:]
        pieces.append(head + fragment + octets)
    return pieces


def fragments4(packet: bytes, mtu: int) -> list[bytes]:
    """An IPv4 packet in pieces of `mtu` octets at most; their checksums are 0."""
    header_len = (packet[0] & 15) * 4
    header, part = packet[:header_len], packet[header_len:]
    size = (mtu - header_len) // 8 * 8
    (field,) = struct.unpack_from("!H", header, 6)
    pieces = []
    for start in range(0, len(part), size):
        octets = part[start : start + size]
        head = header if start == 0 else header[:20] + copied(header[20:])
        more = field & 0x2000 or (0x2000 if start + size < len(part) else 0)
        fragment = field & 0xC000 | more | (field & 0x1FFF) + start // 8
        lengths = struct.pack(
            "!HHH", len(head) + len(octets), *struct.unpack_from("!H", head, 4), fragment
        )
        first = bytes([0x40 | len(head) // 4])
        pieces.append(first + head[1:2] + lengths + head[8:10] + bytes(2) + head[12:] + octets)
    return pieces


def copied(options: bytes) -> bytes:
    """The options that every fragment must have: those whose first bit is set."""
    kept = b""
    while options and options[0] != 0:
        if options[0] == 1:
            options = options[1:]
            continue
        if len(options) < 2 or options[1] < 2 or options[1] > len(options):
            break
        if options[0] >= 128:
            kept += options[: options[1]]
        options = options[options[1] :]
    return kept + bytes(-len(kept) % 4)


def masked(frame: bytes) -> bytes:
    """A frame; the identification of an IPv6 fragment becomes 0."""
    at = 18 if frame[12:14] == b"\x81\x00" else 14
    if frame[at - 2 : at] != b"\x86\xdd" or frame[at + 6] != 44:
        return frame
    return frame[: at + 44] + bytes(4) + frame[at + 48 :]
