"""Whose a packet of a shared address is: the scalar version, from RFC 7597, 7596 and 5508.

Takes and gives plain values. Whatever has no answer gives the name of a verdict.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.pipeline.worlds import BindingSpec, SharedSpec

TRANSPORTS = {6, 17, 33, 132}
ECHOES = {0, 8}
ERRORS = {3, 4, 5, 11, 12}


def psid_of(port: int, offset: int, length: int) -> int | None:
    """RFC 7597 5.1: bit by bit, from the left; None if the port is excluded."""
    bits = f"{port:016b}"
    if offset and int(bits[:offset], 2) == 0:
        return None
    return int(bits[offset : offset + length], 2)


def holder(shared: SharedSpec, port: int) -> BindingSpec | None:
    psid = psid_of(port, shared.offset, shared.length)
    return None if psid is None else shared.holders.get(psid)


def key(packet: bytes, *, towards_client: bool) -> int | str:
    """The port or identifier of an IPv4 packet that passed R1; `packet` ends with it."""
    header_len = (packet[0] & 15) * 4
    if is_piece(packet):
        return _of_piece(packet, towards_client=towards_client)
    return _behind(
        packet[9],
        packet[header_len:],
        packet[16:20] if towards_client else packet[12:16],
        towards_client=towards_client,
    )


def is_piece(packet: bytes) -> bool:
    return bool(int.from_bytes(packet[6:8], "big") & 0x3FFF)


def _of_piece(packet: bytes, *, towards_client: bool) -> int | str:
    """R20, of a fragment that comes alone."""
    field = int.from_bytes(packet[6:8], "big")
    start, more = (field & 0x1FFF) * 8, bool(field & 0x2000)
    rest = packet[(packet[0] & 15) * 4 :]
    too_long = start + len(rest) > 65515
    if not rest or too_long or (more and len(rest) % 8) or (packet[9] == 6 and start == 8):
        return "DROP_FRAGMENT_ODD"
    if packet[9] not in TRANSPORTS | {1}:
        return "DROP_NO_PORT"
    if start:
        return "KEPT_FRAGMENT"
    if len(rest) < (8 if packet[9] == 1 else 4):
        return "DROP_FRAGMENT_ODD"
    return _of_first_piece(packet[9], rest, towards_client=towards_client)


def _of_first_piece(protocol: int, rest: bytes, *, towards_client: bool) -> int | str:
    if protocol == 1:
        return int.from_bytes(rest[4:6], "big") if rest[0] in ECHOES else "DROP_NO_PORT"
    src, dst = struct.unpack_from("!HH", rest)
    return int(dst if towards_client else src)


def _behind(protocol: int, rest: bytes, client4: bytes, *, towards_client: bool) -> int | str:
    if protocol in TRANSPORTS and len(rest) >= 4:
        src, dst = struct.unpack_from("!HH", rest)
        return int(dst if towards_client else src)
    if protocol != 1 or len(rest) < 8:
        return "DROP_NO_PORT"
    found: int | str = "DROP_NO_PORT"
    if rest[0] in ECHOES:
        found = int.from_bytes(rest[4:6], "big")
    elif rest[0] in ERRORS:
        found = quoted_key(rest[8:], client4, towards_client=towards_client)
    if isinstance(found, int) and not sums_up(rest):
        return "DROP_ICMP_DAMAGED"
    return found


def quoted_key(packet: bytes, client4: bytes, *, towards_client: bool) -> int | str:
    """Of the packet that an ICMP error is about: it went the other way."""
    if len(packet) < 20:
        return "DROP_NO_PORT"
    header_len = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or header_len < 20 or len(packet) < header_len + 8:
        return "DROP_NO_PORT"
    of_client = packet[12:16] if towards_client else packet[16:20]
    if int.from_bytes(packet[6:8], "big") & 0x1FFF or of_client != client4:
        return "DROP_NO_PORT"
    rest = packet[header_len:]
    if packet[9] in TRANSPORTS:
        src, dst = struct.unpack_from("!HH", rest)
        found = src if towards_client else dst
    elif packet[9] == 1 and rest[0] in ECHOES:
        found = int.from_bytes(rest[4:6], "big")
    else:
        return "DROP_NO_PORT"
    return int(found) if sums_up(packet[:header_len]) else "DROP_ICMP_DAMAGED"


def sums_up(octets: bytes) -> bool:
    """Whether octets that hold their own checksum are undamaged (RFC 1071)."""
    padded = octets + bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF
