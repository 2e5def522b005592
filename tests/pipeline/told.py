"""Reading the ICMP errors that a machine made, for tests that know what they must say."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from tests import oracle

if TYPE_CHECKING:
    from tests.oracle import Fate


@dataclasses.dataclass(frozen=True)
class Told:
    """An error as its receiver sees it; addresses as text."""

    verdict: str
    port: int | None
    to: str
    type: int
    code: int
    rest: int
    quote: bytes
    tunnel: tuple[str, str] | None = None  # outer source and destination


def told(fate: Fate) -> Told:
    """What an error says; all of its checksums must be right."""
    assert fate.frame is not None
    at = 18 if fate.frame[12:14] == b"\x81\x00" else 14
    packet, tunnel = fate.frame[at:], None
    if packet[0] >> 4 == 6 and packet[6] == 4:
        src6, dst6 = (str(IPv6Address(packet[n : n + 16])) for n in (8, 24))
        packet, tunnel = packet[40:], (src6, dst6)
    if packet[0] >> 4 == 6:
        assert packet[6] == 58
        pseudo = packet[8:40] + len(packet[40:]).to_bytes(4, "big") + bytes([0, 0, 0, 58])
        to, message = str(IPv6Address(packet[24:40])), packet[40:]
    else:
        assert packet[9] == 1
        assert oracle.checksum(packet[:20]) == 0
        pseudo, to, message = b"", str(IPv4Address(packet[16:20])), packet[20:]
    assert oracle.checksum(pseudo + message) == 0
    rest = int.from_bytes(message[4:8], "big")
    return Told(fate.verdict, fate.port, to, message[0], message[1], rest, message[8:], tunnel)
