"""Single numbers and headers as the RFCs want them, for the oracles: plain Python."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.pipeline.worlds import BindingSpec, World


def checksum(octets: bytes) -> int:
    """RFC 1071, word by word."""
    padded = octets + bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def summed(packet: bytes) -> bytes:
    """An IPv4 packet with its header checksum computed anew."""
    header_len = (packet[0] & 15) * 4
    total = checksum(packet[:10] + bytes(2) + packet[12:header_len])
    return packet[:10] + total.to_bytes(2, "big") + packet[12:]


def flow_label(inner: bytes, key: tuple[int, int]) -> int:
    """R8: the formula of `dstmrouter.pipeline.flow`."""
    wide = (1 << 64) - 1
    header_len, protocol = (inner[0] & 15) * 4, inner[9]
    ports = 0
    fragment = int.from_bytes(inner[6:8], "big") & 0x3FFF
    if protocol in {6, 17, 33, 132} and not fragment and len(inner) >= header_len + 4:
        ports = int.from_bytes(inner[header_len : header_len + 4], "little")
        ports *= 0xA0761D6478BD642F * (2 * protocol + 1)
    mixed = int.from_bytes(inner[12:20], "little") * (key[0] | 1) + ports & wide
    mixed ^= mixed >> 32
    mixed = mixed * (key[1] | 1) & wide
    return max(mixed >> 44, 1)


def outer(world: World, binding: BindingSpec, inner: bytes) -> bytes:
    """R5-R9: the IPv6 packet that carries `inner`."""
    rules = world.rules
    label = flow_label(inner, rules.flow_key) if rules.flow_label is None else rules.flow_label
    traffic_class = inner[1] if rules.dscp_uniform else inner[1] & 3
    if not rules.ecn_copied:
        traffic_class &= 0xFC
    option, following = b"", 4
    if rules.encapsulation_limit is not None:
        option, following = bytes([4, 0, 4, 1, rules.encapsulation_limit, 1, 1, 0]), 60
    first = 6 << 28 | traffic_class << 20 | label
    head = struct.pack("!IHBB", first, len(option + inner), following, rules.hop_limit)
    return head + rules.tep6[binding.tep].packed + binding.client6.packed + option + inner
