from __future__ import annotations

import struct

import numpy as np
import pytest

from dstmrouter.pipeline.embedded import Embedded, EmbeddedReader
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outer import OuterReader
from dstmrouter.pipeline.portsets import PortSets
from tests.pipeline import packets, worlds
from tests.pipeline.built import tables
from tests.pipeline.packets import ipv4, ipv6

STEP = 2048
TEP6, CLIENT6 = worlds.TEP6, worlds.CLIENTS6[1]
WORLD = worlds.world()
BINDINGS = tables(WORLD).bindings


def reader(*quoted: bytes) -> tuple[EmbeddedReader, Embedded]:
    buffer = bytearray(b"\xee" * ((len(quoted) + 2) * STEP))
    for number, octets in enumerate(quoted):
        buffer[number * STEP : number * STEP + len(octets)] = octets
    memory = FrameMemory(buffer)
    outer = OuterReader(memory, WORLD.rules.tep6)
    reads = EmbeddedReader(memory, outer, PortSets(memory, BINDINGS))
    room = np.array([len(octets) for octets in quoted], np.int64)
    return reads, reads.read(np.arange(len(quoted)) * STEP, room)


def piece(offset: int, more: bool = False) -> bytes:
    return struct.pack("!BBHI", 4, 0, offset << 3 | more, 99)


@pytest.mark.parametrize(
    ("quoted", "overhead", "whole", "later"),
    [
        (ipv6(ipv4(), TEP6, CLIENT6), 40, True, False),
        (ipv6(packets.OPTIONS + ipv4(), TEP6, CLIENT6, next_header=60), 48, True, False),
        (ipv6(piece(0, True) + ipv4(), TEP6, CLIENT6, next_header=44), 48, True, False),
        (ipv6(piece(0) + ipv4(), TEP6, CLIENT6, next_header=44), 48, True, False),
        (ipv6(piece(1) + ipv4(), TEP6, CLIENT6, next_header=44), 48, False, True),
        (
            ipv6(b"\x3c" + piece(0)[1:] + packets.OPTIONS + ipv4(), TEP6, CLIENT6, next_header=44),
            56,
            True,
            False,
        ),
        (ipv6(piece(1)[:7], TEP6, CLIENT6, next_header=44), 40, False, False),
    ],
)
def test_headers_before_the_ipv4_packet_are_walked_over(
    quoted: bytes, overhead: int, whole: bool, later: bool
) -> None:
    _, found = reader(quoted)
    assert found.overhead.tolist() == [overhead]
    assert (found.whole.tolist(), found.later_piece.tolist()) == ([whole], [later])


@pytest.mark.parametrize(
    ("options", "has_limit"),
    [
        (packets.OPTIONS, True),
        (bytes.fromhex("0400040100010100"), True),  # whatever its value
        (bytes.fromhex("0400010200000000"), False),
        (bytes.fromhex("0400010004010400"), False),  # elsewhere
    ],
)
def test_an_encapsulation_limit_is_looked_for_where_ours_stands(
    options: bytes, has_limit: bool
) -> None:
    _, found = reader(ipv6(options + ipv4(), TEP6, CLIENT6, next_header=60))
    assert found.has_limit.tolist() == [has_limit]


def test_of_the_ipv4_packet_as_much_counts_as_is_there() -> None:
    inner = ipv4(payload=bytes(100))
    whole = ipv6(inner, TEP6, CLIENT6)
    _, found = reader(whole, whole[:90], whole + b"more")
    assert found.inner.total_len.tolist() == [120, 50, 120]
    assert found.whole.tolist() == [True] * 3


def test_r22_only_what_went_to_the_holder_from_its_end_point_is_ours() -> None:
    reads, found = reader(
        ipv6(ipv4(), TEP6, CLIENT6),
        ipv6(ipv4(dst=worlds.leased(2)), worlds.TEP6_B, worlds.CLIENTS6[2]),
        ipv6(ipv4(dst=worlds.leased(2)), TEP6, worlds.CLIENTS6[2]),
        ipv6(ipv4(dst=worlds.leased(2)), worlds.TEP6_B, CLIENT6),
        ipv6(ipv4(dst=packets.FAR), TEP6, CLIENT6),
    )
    assert reads.ours(found, worlds.NOW_S).tolist() == [True, True, False, False, False]
    assert reads.ours(found, worlds.NOW_S + 1).tolist() == [True, False, False, False, False]
    assert reads.from_us(found).tolist() == [True] * 5


def test_ports_behind_options_are_found() -> None:
    client = worlds.SHARED[worlds.leased(5)].holders[0x34].client6
    inner = ipv4(dst=worlds.leased(5), payload=packets.ports(9, 1232), options=b"\1" * 8)
    reads, found = reader(ipv6(inner, TEP6, client))
    assert reads.ours(found, worlds.NOW_S).tolist() == [True]


def test_a_part_is_of_these_packets() -> None:
    _, found = reader(*[ipv6(ipv4(payload=bytes(n)), TEP6, CLIENT6) for n in range(8, 12)])
    part = found.take(np.array([2, 0]))
    assert part.inner.total_len.tolist() == [30, 28]
    assert part.header["payload_len"].tolist() == [30, 28]
