"""Frame sizes, headers and theoretical rates (RFC 8219 section 5.1, RFC 2544 section 9).

Sizes are those of Ethernet frames with their check sequence on the IPv4 side, as in the RFCs. On
the IPv6 side a frame has 40 octets more, in both directions. UDP payloads begin with a stamp.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.wire import ether, ipv4, ipv6
from perf.gateway import POOL, TEP6
from perf.packets import client6_of, decap_frames, encap_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

SIZES: Final = (64, 128, 256, 512, 768, 1024, 1280, 1518)
IMIX: Final = (64, 64, 570, 64, 64, 570, 64, 570, 64, 64, 570, 1518)  # 7 : 4 : 1
OVERHEAD: Final = ipv6.HEADER_LEN
FCS_LEN: Final = 4  # of a frame's octets, not in our memory
GAP_LEN: Final = 20  # preamble, delimiter and gap between frames
UDP_LEN: Final = 8
STAMP: Final = np.dtype([("sent_ns", "u8"), ("sequence", "u8"), ("trial", "u2")])  # host's order
SIZE_MIN: Final = ether.HEADER_LEN + ipv4.HEADER_LEN + UDP_LEN + STAMP.itemsize + FCS_LEN
CLIENT_PORT: Final = 4711


class Direction(enum.Enum):
    """Which way packets go through the gateway."""

    ENCAP = "encap"  # from IPv4 into tunnels
    DECAP = "decap"


@dataclasses.dataclass(frozen=True, slots=True)
class Frames:
    """Sizes that follow each other in a stream, again and again."""

    name: str
    sizes: tuple[int, ...]

    @property
    def size(self) -> int | None:
        """The only size; None for a mixture."""
        return self.sizes[0] if len(self.sizes) == 1 else None

    def rate_max(self, bits_per_s: float) -> float:
        """Frames/s of a link (RFC 8219 appendix A.1): the one with the tunnels limits both."""
        octets = sum(size + GAP_LEN + OVERHEAD for size in self.sizes) / len(self.sizes)
        return bits_per_s / 8 / octets


def parse(text: str) -> tuple[Frames, ...]:
    """Read "64,128,imix" or "rfc", which is all sizes and IMIX; ValueError says what is wrong."""
    names = [*map(str, SIZES), "imix"] if text == "rfc" else text.split(",")
    return tuple(_parse_one(name.strip()) for name in names)


def _parse_one(name: str) -> Frames:
    if name.lower() == "imix":
        return Frames("imix", IMIX)
    if not name.isdecimal() or not SIZE_MIN <= int(name) <= SIZES[-1]:
        expected = f"{SIZE_MIN} to {SIZES[-1]} octets, imix or rfc"
        raise ValueError(f"frame size {name!r}: expected {expected}")
    return Frames(name, (int(name),))


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """A frame to send, and where it varies; positions in octets from its start."""

    octets: bytes
    header_len: int  # all in front of the stamp
    checksum: int
    addresses: tuple[int, ...]  # whose last 32 bits vary
    host_port: int


def template(
    direction: Direction, size: int, macs: Mapping[str, tuple[str, str]], *, dual: bool = False
) -> Template:
    """A frame of `size` octets on the IPv4 side, without check sequence.

    `macs` gives destination and source for the port of each side, "6" and "4". In a `dual` set-up
    the other device makes the tunnel, and frames of clients are plain IPv4.
    """
    inner_len = size - ether.HEADER_LEN - FCS_LEN
    address = np.array([int(POOL.network_address)], np.uint32)
    port, rng = np.array([CLIENT_PORT], np.uint16), np.random.default_rng(7)
    if direction is Direction.ENCAP:
        frame = encap_frames(address, port, inner_len, rng)[0]
        at, side, varied, host_port = ether.HEADER_LEN, "4", "dst", 0
        addresses: tuple[int, ...] = ()
    elif dual:
        frame = encap_frames(address, port, inner_len, rng)[0]
        at, side, varied, host_port = ether.HEADER_LEN, "6", "src", 2
        addresses = ()
        _turn_round(frame[at:])
    else:
        frame = decap_frames(address, port, client6_of(address), TEP6, inner_len, rng)[0]
        at, side, varied, host_port = ether.HEADER_LEN + OVERHEAD, "6", "src", 2
        addresses = (ether.HEADER_LEN + _offset(ipv6.HEADER, "src") + 12,)
    frame[: ether.HEADER_LEN - 2] = np.frombuffer(b"".join(map(_mac, macs[side])), np.uint8)
    udp = at + ipv4.HEADER_LEN
    frame[udp + 4 : udp + 6] = divmod(inner_len - ipv4.HEADER_LEN, 256)
    return Template(
        octets=frame.tobytes(),
        header_len=udp + UDP_LEN,
        checksum=at + _offset(ipv4.HEADER, "checksum"),
        addresses=(*addresses, at + _offset(ipv4.HEADER, varied)),
        host_port=udp + host_port,
    )


def _turn_round(packet: npt.NDArray[np.uint8]) -> None:
    """Swap addresses and ports; the checksum stays right."""
    src, dst = (_offset(ipv4.HEADER, name) for name in ("src", "dst"))
    for one, other, length in ((src, dst, 4), (ipv4.HEADER_LEN, ipv4.HEADER_LEN + 2, 2)):
        former = packet[one : one + length].copy()
        packet[one : one + length] = packet[other : other + length]
        packet[other : other + length] = former


def _mac(text: str) -> bytes:
    octets = bytes.fromhex(text.replace(":", ""))
    if len(octets) != 6:
        raise ValueError(f"MAC address {text!r}: expected six octets as 02:00:00:00:00:01")
    return octets


def _offset(header: np.dtype[np.void], name: str) -> int:
    return int(header.fields[name][1])  # type: ignore[index]  # a structure has fields
