from __future__ import annotations

import random
from ipaddress import IPv6Address

import numpy as np
import pytest

from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.link import Packets
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.options import MAX_EXTENSIONS
from dstmrouter.pipeline.outer import Outer, OuterReader
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import worlds
from tests.pipeline.packets import ipv4, ipv6

INNER = ipv4(worlds.leased(1), "198.18.7.7")
STRIDE = 4096
GOOD = 0


def read(
    octets: list[bytes], teps: tuple[IPv6Address, ...] = (worlds.TEP6,)
) -> tuple[Outer, list[int]]:
    memory = bytearray(b"\x3c" * (STRIDE * (len(octets) + 1)))
    for number, packet in enumerate(octets):
        memory[number * STRIDE : number * STRIDE + len(packet)] = packet
    rows = np.arange(len(octets), dtype=np.intp)
    room = np.array([len(packet) for packet in octets], np.int64)
    outer, checks = OuterReader(FrameMemory(memory), teps).read(Packets(rows, rows * STRIDE, room))
    verdicts = np.full(len(octets), GOOD, np.uint8)
    survivors(checks, verdicts, rows)
    return outer, verdicts.tolist()


def option(follows: int, len8: int = 0, octets: int | None = None) -> bytes:
    """An options header that says it is `len8` + 1 units long, and is `octets` long."""
    size = 8 * len8 + 8 if octets is None else octets
    return (bytes([follows, len8]) + bytes(size))[:size]


def test_a_plain_tunnel_packet() -> None:
    outer, verdicts = read([ipv6(INNER + b"trailer", traffic_class=0xB9)])
    assert verdicts == [GOOD]
    assert outer.traffic_class.tolist() == [0xB9]
    assert outer.inner_at.tolist() == [40]
    assert outer.inner_room.tolist() == [len(INNER) + 7]


def test_trailing_octets_of_the_frame_are_not_the_packets() -> None:
    outer, _ = read([ipv6(INNER) + bytes(20)])
    assert outer.inner_room.tolist() == [len(INNER)]


@pytest.mark.parametrize("len8", [0, 1, 30, 255])
def test_options_of_any_length_are_skipped(len8: int) -> None:
    outer, verdicts = read([ipv6(option(4, len8) + INNER, next_header=60)])
    assert verdicts == [GOOD]
    assert outer.inner_at.tolist() == [40 + 8 * len8 + 8]
    assert outer.inner_room.tolist() == [len(INNER)]


def test_packets_with_and_without_options_side_by_side() -> None:
    chains = [[60] * n for n in range(MAX_EXTENSIONS + 1)]
    octets = [
        ipv6(
            b"".join(option(follows) for follows in [*chain[1:], 4][: len(chain)]) + INNER,
            next_header=(chain or [4])[0],
        )
        for chain in chains
    ]
    outer, verdicts = read(octets)
    assert verdicts == [GOOD] * len(chains)
    starts = [STRIDE * n + 40 + 8 * n for n in range(len(chains))]
    assert outer.inner_at.tolist() == starts


@pytest.mark.parametrize(
    ("rest", "next_header", "verdict"),
    [
        (b"", 60, Verdict.DROP_NOT_TUNNEL),
        (option(4, 0, 7), 60, Verdict.DROP_NOT_TUNNEL),
        (option(4, 1, 15), 60, Verdict.DROP_NOT_TUNNEL),
        (option(4, 255, 64), 0, Verdict.DROP_NOT_TUNNEL),
        (option(60) + option(4, 3, 8), 60, Verdict.DROP_NOT_TUNNEL),
        (option(0) + option(4) + INNER, 60, Verdict.DROP_NOT_TUNNEL),
        (option(0) + option(4) + INNER, 0, Verdict.DROP_NOT_TUNNEL),
        (option(60) * 4 + option(4) + INNER, 60, Verdict.DROP_NOT_TUNNEL),
        (option(44) + bytes(8) + INNER, 60, Verdict.DROP_OUTER_FRAGMENT),
        (option(58) + bytes(8), 0, Verdict.DROP_ICMPV6),
        (INNER, 59, Verdict.DROP_NOT_TUNNEL),
        (INNER, 43, Verdict.DROP_NOT_TUNNEL),  # routing headers end here
    ],
)
def test_what_is_no_tunnel_packet(rest: bytes, next_header: int, verdict: Verdict) -> None:
    assert read([ipv6(rest, next_header=next_header)])[1] == [verdict]


@pytest.mark.parametrize("length", [0, 1, 39, 40, 40 + len(INNER) - 1])
def test_cut_packets_are_malformed(length: int) -> None:
    assert read([ipv6(INNER)[:length]])[1] == [Verdict.DROP_V6_MALFORMED]


def test_versions() -> None:
    octets = [ipv6(INNER, version=version) for version in (4, 5, 7, 15)]
    assert read(octets)[1] == [Verdict.DROP_V6_MALFORMED] * 4


def test_all_of_many_end_points_are_known_and_their_neighbours_are_not() -> None:
    dice = random.Random(5)
    values = [dice.getrandbits(128) for _ in range(60)]
    teps = tuple(IPv6Address(value) for value in values)
    near = [IPv6Address(value ^ 1 << dice.randrange(128)) for value in values]
    octets = [ipv6(INNER, dst=dst) for dst in (*teps, *near, worlds.TEP6, IPv6Address(0))]
    verdicts = read(octets, teps)[1]
    assert verdicts == [GOOD] * 60 + [Verdict.DROP_NOT_TEP6] * 62
    swapped = IPv6Address(teps[0].packed[8:] + teps[0].packed[:8])
    assert read([ipv6(INNER, dst=swapped)], teps[:1])[1] == [Verdict.DROP_NOT_TEP6]
