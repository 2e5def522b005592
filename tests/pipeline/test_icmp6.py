from __future__ import annotations

from ipaddress import IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline import icmp6
from dstmrouter.pipeline.icmp6 import Icmp6Builder
from dstmrouter.pipeline.link import Packets
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.wire import ipv6
from tests import oracle
from tests.pipeline import packets, worlds

STEP = 4096
FREE = 16 * STEP
CLIENT6 = worlds.CLIENTS6[1]


def laid_out(*frames: bytes) -> tuple[FrameMemory, bytearray, icmp6.About6]:
    buffer = bytearray(b"\xaa" * (32 * STEP))
    for number, frame in enumerate(frames):
        buffer[number * STEP : number * STEP + len(frame)] = frame
    memory = FrameMemory(buffer)
    at = np.arange(len(frames)) * STEP
    room = np.array([len(frame) - 14 for frame in frames])
    return memory, buffer, icmp6.about6(memory, Packets(at * 0, at + 14, room), at, 3)


def built(*octets: bytes) -> list[bytes]:
    memory, buffer, about = laid_out(*[packets.ether(packet) for packet in octets])
    places = FREE + np.arange(len(octets)) * STEP
    lengths = Icmp6Builder(memory, 64).build(places, 1, 5, about).tolist()
    return [
        bytes(buffer[at : at + length]) for at, length in zip(places.tolist(), lengths, strict=True)
    ]


def checksum_of(error: bytes) -> int:
    pseudo = error[8:40] + len(error[40:]).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    return oracle.checksum(pseudo + error[40:])


def test_r23_an_error_octet_by_octet() -> None:
    about = packets.ipv6(packets.ipv4())
    [error] = built(about)
    assert error[:8].hex() == "60000000" + f"{8 + len(about):04x}" + "3a40"
    assert error[8:24] == worlds.TEP6.packed
    assert error[24:40] == CLIENT6.packed
    assert error[40:42] + error[44:48] == bytes.fromhex("010500000000")
    assert error[48:] == about
    assert checksum_of(error) == 0


@pytest.mark.parametrize("size", [0, 1, 1191, 1192, 1193, 1460])
def test_r23_an_error_quotes_what_fits_into_1280_octets(size: int) -> None:
    about = packets.ipv6((bytes(range(256)) * 6)[:size])
    [error] = built(about)
    assert len(error) == min(88 + size, 1280)
    assert error[48:] == about[:1232]
    assert checksum_of(error) == 0


def test_r23_padding_behind_the_packet_is_not_quoted() -> None:
    about = packets.ipv6(b"x" * 8)
    assert built(about + b"padding")[0][48:] == about


def test_what_parameter_problems_and_mtus_say_is_in_the_second_word() -> None:
    memory, buffer, about = laid_out(*[packets.ether(packets.ipv6(b"xy"))] * 2)
    about.rest = np.array([44, 70_000])
    places = FREE + np.arange(2) * STEP
    Icmp6Builder(memory, 64).build(places, 4, 0, about)
    assert [bytes(buffer[at + 44 : at + 48]).hex() for at in places] == ["0000002c", "00011170"]


@pytest.mark.parametrize(
    ("src", "fine"),
    [
        ("2001:db8::1", True),
        ("fe80::1", True),
        ("::1:0:0:0", True),
        ("::2", True),
        ("::", False),
        ("::1", False),
        ("ff02::1", False),
        ("ff0e::1", False),
    ],
)
def test_r24_sources_that_are_not_one_hosts_get_nothing(src: str, fine: bool) -> None:
    _, _, about = laid_out(packets.ether(packets.ipv6(b"", IPv6Address(src))))
    assert icmp6.answerable(about).tolist() == [fine]


def test_r24_nothing_is_sent_to_a_group_of_neighbours() -> None:
    frame = packets.ether(packets.ipv6(b""))
    _, _, about = laid_out(frame, frame[:6] + b"\1" + frame[7:])
    assert icmp6.answerable(about).tolist() == [True, False]


@given(
    st.lists(st.tuples(st.binary(max_size=1400), st.sampled_from([0, 0, 1, 256])), max_size=5),
)
def test_r22_checksums_are_told_right_from_wrong(messages: list[tuple[bytes, int]]) -> None:
    octets = [
        packets.icmpv6(1, 0, 0, quoted, CLIENT6, worlds.TEP6, off=off) for quoted, off in messages
    ]
    memory, _, about = laid_out(*[packets.ether(packet) for packet in octets])
    length = about.length - ipv6.HEADER_LEN
    found = icmp6.intact(memory, about.at + ipv6.HEADER_LEN, length, about.header)
    sums = [checksum_of(packet) for packet in octets]
    assert found.tolist() == [total == 0 for total in sums]


def test_a_part_of_about_is_about_these() -> None:
    _, _, about = laid_out(*[packets.ether(packets.ipv6(bytes(n))) for n in range(4)])
    about.rest = np.arange(4)
    part = about.take(np.array([3, 1]))
    assert part.length.tolist() == [43, 41]
    assert part.rest is not None
    assert part.rest.tolist() == [3, 1]
    assert part.port == 3
    assert len(part) == 2
