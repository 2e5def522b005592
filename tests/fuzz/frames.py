"""Frames for the fuzzer: real ones of all kinds, header chains in any order, and changes of them.

Seeds are built one by one; bursts are made of them with numpy, so that ten million are a matter of
minutes.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from tests import oracle
from tests.pipeline import packets, worlds
from tests.pipeline.examples import EXAMPLES

if TYPE_CHECKING:
    import random
    from ipaddress import IPv4Address, IPv6Address

    import numpy.typing as npt

LONGEST: Final = 1700  # octets; headroom and frame fit a chunk of 2048
HEADERS: Final = 150  # changes happen within so many octets
SIZES: Final = (1, 2, 3, 7, 9, 64, 255, 256, 257, *(1023, 1024) * 5)
EXTENSIONS: Final = (0, 60, 43, 44, 51, 135, 59)
EDGES: Final = (0, 1, 4, 6, 17, 44, 58, 60, 0x45, 0x60, 0x7F, 0x80, 0xFF)
NO_IPV4: Final = -1


def _inner(dice: random.Random, src: IPv4Address | str, dst: IPv4Address | str) -> bytes:
    """IPv4 of any kind: options, fragments, ICMP with or without a packet inside, ports."""
    kind = dice.randrange(6)
    protocol = dice.choice((6, 17, 17, 33, 132, 47, 1))
    payload = dice.randbytes(dice.choice((0, 3, 4, 8, 20, 40, 200, 1400, 1440, 1480)))
    if kind == 0:
        protocol = 1
        payload = packets.echo(dice.choice((0, 8)), ident=dice.randrange(1 << 16))
    elif kind == 1:
        protocol, payload = 1, _icmp4_error(dice, packets.ipv4(dst, src, payload[:64]))
    options = dice.choice((b"", b"", b"", b"\x01" * 4, b"\x07\x07\x04" + bytes(5), bytes(40)))
    fragment = dice.choice((0, 0, 0x4000, 0x4000, 0x2000, 0x2003, 0x00B9, 1, 0x1FFF, 0xFFFF))
    return packets.ipv4(
        src,
        dst,
        payload[: LONGEST - 200],
        options=options,
        tos=dice.randrange(256),
        ident=dice.randrange(4),  # few, so that fragments meet
        fragment=fragment,
        ttl=dice.choice((64, 64, 255, 2, 1, 0)),
        protocol=protocol,
    )


def _icmp4_error(dice: random.Random, about: bytes) -> bytes:
    kind = dice.choice((3, 3, 4, 5, 11, 12))
    message = struct.pack("!BBHHH", kind, dice.randrange(16), 0, 0, 1400) + about[:64]
    return message[:2] + oracle.checksum(message).to_bytes(2, "big") + message[4:]


def _extended(dice: random.Random, body: bytes, follows: int) -> tuple[int, bytes]:
    """Extension headers of any kind and in any order before `body`."""
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 3, 6))):
        kind = dice.choice(EXTENSIONS)
        if kind == 44:
            at = dice.choice((0, 0, 1, 1448, 8, 0xFFF8, 0xFFF9))
            header = struct.pack("!BBHI", follows, 0, at, dice.randrange(4))
        else:
            words = dice.choice((0, 0, 1, 3, 255))
            header = bytes([follows, words]) + dice.randbytes(6 + 8 * min(words, 3))
        follows, body = kind, header + body
    return follows, body


def _icmp6_error(dice: random.Random, client6: IPv6Address, inner: bytes) -> bytes:
    """An error about a tunnel packet of ours, or nearly."""
    kind, mtu = dice.choice((1, 2, 2, 3, 4)), dice.choice((0, 68, 1279, 1280, 1400, 1 << 31))
    about = packets.ipv6(inner, worlds.TEP6, client6)[: dice.choice((8, 48, 60, 68, 90, 1200))]
    message = struct.pack("!BBHI", kind, dice.randrange(8), 0, mtu) + about
    pseudo = client6.packed + worlds.TEP6.packed + struct.pack("!II", len(message), 58)
    total = oracle.checksum(pseudo + message)
    return message[:2] + total.to_bytes(2, "big") + message[4:]


def _pieces(dice: random.Random, client6: IPv6Address, inner: bytes) -> list[bytes]:
    """A tunnel packet in IPv6 fragments, some of them twice, missing or overlapping."""
    size, ident = dice.choice((64, 512, 1232)), dice.randrange(1 << 32)
    found = []
    for at in range(0, len(inner), size):
        piece = inner[at : at + size + dice.choice((0, 0, 0, 0, 8, -3))]
        more = int(at + size < len(inner))
        header = struct.pack("!BBHI", 4, 0, at | more, ident)
        found += [packets.ipv6(header + piece, client6, next_header=44)] * dice.choice((1, 1, 1, 2))
    return found[: None if dice.randrange(4) else -1]


def seeds(dice: random.Random) -> list[bytes]:
    """One thing that arrives, as one or several frames."""
    number = dice.choice((1, 1, 2, 3, 5, 6, 7))
    client6, client4 = worlds.CLIENTS6[number], worlds.leased(number)
    other = dice.choice((packets.FAR, packets.FAR, worlds.leased(3), worlds.TEP4, "10.1.0.1"))
    tci = dice.choice((None,) * 40 + (0, 77, 0x2001))
    kind = dice.randrange(8)
    if kind == 0:
        return [dice.choice(list(EXAMPLES.values())).frame]
    if kind <= 2:
        return [packets.ether(_inner(dice, other, client4), tci)]
    inner = _inner(dice, client4, other)
    if kind == 3:
        return [packets.ether(each, tci) for each in _pieces(dice, client6, inner)]
    if kind == 4:
        about = dice.choice((_inner(dice, other, client4), packets.ipv4(packets.FAR, client4)))
        error = _icmp6_error(dice, client6, about)
        return [packets.ether(packets.ipv6(error, client6, next_header=58), tci)]
    if kind == 5:
        follows, body = _extended(dice, inner, 4)
        return [packets.ether(packets.ipv6(body, client6, next_header=follows), tci)]
    outer = packets.ipv6(inner, client6, traffic_class=dice.choice((inner[1], 3)))
    return [packets.ether(outer, tci)]


@dataclasses.dataclass(frozen=True)
class Stock:
    """Seeds as columns; n of them."""

    octets: npt.NDArray[np.uint8]  # shape (n, LONGEST)
    length: npt.NDArray[np.int64]
    ipv4_at: npt.NDArray[np.int64]  # where an IPv4 header starts, or NO_IPV4

    @classmethod
    def build(cls, dice: random.Random, count: int) -> Stock:
        """At least `count` seeds."""
        frames: list[bytes] = []
        while len(frames) < count:
            frames += [frame[:LONGEST] for frame in seeds(dice)]
        octets = np.zeros((len(frames), LONGEST), np.uint8)
        for row, frame in zip(octets, frames, strict=True):
            row[: len(frame)] = np.frombuffer(frame, np.uint8)
        length = np.array([len(frame) for frame in frames], np.int64)
        return cls(octets, length, np.array([_ipv4_at(frame) for frame in frames], np.int64))


def _ipv4_at(frame: bytes) -> int:
    at = 18 if frame[12:14] == b"\x81\x00" else 14
    if len(frame) > at + 40 and frame[at] >> 4 == 6 and frame[at + 6] == 4:
        at += 40
    return at if len(frame) >= at + 20 and frame[at] == 0x45 else NO_IPV4


def burst(
    stock: Stock, dice: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Frames as rows, shape (n, LONGEST), and their lengths: seeds, changed ones, noise."""
    n = int(dice.choice(SIZES))
    chosen = dice.integers(len(stock.length), size=n)
    octets, length = stock.octets[chosen], stock.length[chosen]
    changed = np.flatnonzero(dice.random(n) < 0.6)
    for _ in range(3):
        rows = changed[dice.random(len(changed)) < 0.5]
        at = (dice.random(len(rows)) * np.minimum(length[rows], HEADERS)).astype(np.intp)
        flipped = octets[rows, at] ^ np.uint8(1) << dice.integers(8, size=len(rows), dtype=np.uint8)
        edges = dice.choice(np.array(EDGES, np.uint8), size=len(rows))
        octets[rows, at] = np.where(dice.random(len(rows)) < 0.5, flipped, edges)
    _repair(octets, stock.ipv4_at[chosen], changed[dice.random(len(changed)) < 0.7])
    rows = np.flatnonzero(dice.random(n) < 0.05)
    length[rows] = (dice.random(len(rows)) * (length[rows] + 1)).astype(np.int64)
    rows = np.flatnonzero(dice.random(n) < 0.05)
    length[rows] = np.minimum(length[rows] + dice.integers(64, size=len(rows)), LONGEST)
    noise = np.flatnonzero(dice.random(n) < 0.02)
    octets[noise, :HEADERS] = dice.integers(256, size=(len(noise), HEADERS), dtype=np.uint8)
    return octets, length


def _repair(octets: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], rows: np.ndarray) -> None:
    """Right header checksums, so that changes get past the first check."""
    rows = rows[at[rows] != NO_IPV4]
    columns = at[rows, None] + np.arange(20)
    headers = octets[rows[:, None], columns]
    headers[:, 10:12] = 0
    total = np.ascontiguousarray(headers).view(">u2").sum(axis=1, dtype=np.int64)
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    headers[:, 10], headers[:, 11] = total >> 8, total & 0xFF
    octets[rows[:, None], columns] = headers
