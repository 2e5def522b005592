"""Packets as matrices of octets, for the benches: UDP in IPv4, plain or inside IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.wire import checksum, ether, ipv4, ipv6

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from dstmrouter.binding import Words6

Matrix = npt.NDArray[np.uint8]
"""Frames of one length, shape (n, octets)."""

INTERNET_HOST: Final = 0xC6336401  # 198.51.100.1
_CLIENT_PREFIX: Final = np.frombuffer(bytes.fromhex("20010db800010000"), "<u8")[0]


def client6_of(addresses: npt.NDArray[np.uint32]) -> Words6:
    """A client address for each IPv4 address: 2001:db8:1::a.b.c.d."""
    words = np.empty((len(addresses), 2), np.uint64)
    words[:, 0] = _CLIENT_PREFIX
    words[:, 1] = addresses.astype(">u4").view("<u4").astype(np.uint64) << np.uint64(32)
    return words


def inner_packets(
    src: npt.NDArray[np.uint32], dst: npt.NDArray[np.uint32], size: int, rng: np.random.Generator
) -> Matrix:
    """IPv4 packets of `size` octets with UDP ports at random."""
    n = max(len(src), len(dst))
    packets = np.zeros((n, size), np.uint8)
    header = np.ndarray(n, ipv4.HEADER, packets, 0, (size,))
    header["version_ihl"], header["ttl"], header["protocol"] = ipv4.VERSION_IHL, 64, 17
    header["total_len"] = size
    header["src"], header["dst"] = src, dst
    packets[:, 20:24] = rng.integers(0, 256, (n, 4), dtype=np.uint8)
    words = np.ascontiguousarray(packets[:, : ipv4.HEADER_LEN]).view("<u4")
    sums = checksum.row_sums(words).astype("<u2").view(">u2").astype(np.int64)
    header["checksum"] = checksum.updated(np.zeros(n, np.int64), -sums)
    return packets


def scatter_sources(frames: Matrix, rng: np.random.Generator) -> Matrix:
    """Give untagged IPv4 frames sources at random, 16.0.0.0 to 95.255.255.255; returns them."""
    packets = np.ascontiguousarray(frames[:, ether.HEADER_LEN :][:, : ipv4.HEADER_LEN])
    header = packets.view(ipv4.HEADER).reshape(-1)
    header["src"] = rng.integers(16 << 24, 96 << 24, len(frames))
    header["checksum"] = 0
    header["checksum"] = checksum.of_rows(packets.view("<u4")).view(">u2")
    frames[:, ether.HEADER_LEN : ether.HEADER_LEN + ipv4.HEADER_LEN] = packets
    return frames


def _with_link(packets: Matrix, ethertype: int) -> Matrix:
    frames = np.zeros((len(packets), ether.HEADER_LEN + packets.shape[1]), np.uint8)
    frames[:, ether.HEADER_LEN :] = packets
    link = np.ndarray(len(frames), ether.HEADER, frames, 0, (frames.shape[1],))
    link["type"] = ethertype
    return frames


def encap_frames(
    addresses: npt.NDArray[np.uint32],
    ports: npt.NDArray[np.uint16],
    size: int,
    rng: np.random.Generator,
) -> Matrix:
    """Frames from the Internet to the clients that hold `addresses`, to their `ports`."""
    host = np.full(len(addresses), INTERNET_HOST, np.uint32)
    packets = inner_packets(host, addresses, size, rng)
    packets[:, 22:24] = ports.astype(">u2").view(np.uint8).reshape(-1, 2)
    return _with_link(packets, ether.ETHERTYPE_IPV4)


def decap_frames(
    addresses: npt.NDArray[np.uint32],
    ports: npt.NDArray[np.uint16],
    clients: Words6,
    tep6: IPv6Address,
    size: int,
    rng: np.random.Generator,
) -> Matrix:
    """Frames from the clients that hold `addresses` and `ports` to the Internet, inside IPv6."""
    n = len(addresses)
    host = np.full(n, INTERNET_HOST, np.uint32)
    packets = np.zeros((n, ipv6.HEADER_LEN + size), np.uint8)
    inner = inner_packets(addresses, host, size, rng)
    inner[:, 20:22] = ports.astype(">u2").view(np.uint8).reshape(-1, 2)
    packets[:, ipv6.HEADER_LEN :] = inner
    outer = np.ndarray(n, ipv6.HEADER, packets, 0, (packets.shape[1],))
    outer["vtc_flow"] = 6 << ipv6.VERSION_SHIFT
    outer["payload_len"] = size
    outer["next_header"], outer["hop_limit"] = ipv6.NEXT_IPV4, 64
    outer["src"] = clients
    outer["dst"] = np.frombuffer(tep6.packed, "<u8")
    return _with_link(packets, ether.ETHERTYPE_IPV6)
