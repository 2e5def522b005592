"""IPv6 fragments of tunnel packets, as frames; and what a router makes of bursts of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from tests.oracle_fragments import fragments6
from tests.pipeline import packets, worlds
from tests.pipeline.packets import ether, ipv4, ipv6

if TYPE_CHECKING:
    from tests.pipeline.machine import Machine

INNER: Final = ipv4(worlds.leased(1), packets.FAR, bytes(range(256)) * 4)


def pieces(packet: bytes, mtu: int = 400, ident: int = 1) -> list[bytes]:
    """Frames with the fragments of an IPv6 packet."""
    cut = [bytearray(piece) for piece in fragments6(packet, mtu)]
    for piece in cut:
        piece[44:48] = struct.pack("!I", ident)
    return [ether(bytes(piece)) for piece in cut]


def piece(
    data: bytes,
    offset: int = 0,
    *,
    more: bool = False,
    follows: int = 4,
    ident: int = 9,
    **outer: Any,
) -> bytes:
    """A frame with one fragment."""
    header = struct.pack("!BBHI", follows, 0, offset | more, ident)
    return ether(ipv6(header + data, next_header=44, **outer))


def run(router: Machine, burst: list[bytes], now_s: int = worlds.NOW_S) -> list[str]:
    """The verdicts of a burst; what it leaves behind stays."""
    return [fate.verdict for fate in router.run(burst, worlds.ACCESS, now_s, remember=True)]
