from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline import inner
from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire.checksum import AFTER_TTL_STEP
from dstmrouter.wire.ipv4 import MARTIAN
from tests import oracle
from tests.pipeline import packets, traffic
from tests.pipeline.machine import NAMES
from tests.pipeline.packets import ipv4

if TYPE_CHECKING:
    from dstmrouter.pipeline.inner import Inner

STRIDE = 2048
GOOD = 0


def read(octets: list[bytes], room: list[int] | None = None) -> tuple[Inner, list[int]]:
    """The columns of packets, and their verdicts by R1; 0 is none."""
    memory = bytearray(b"\x5a" * (STRIDE * (len(octets) + 1)))
    for number, packet in enumerate(octets):
        memory[number * STRIDE : number * STRIDE + len(packet)] = packet
    at = np.arange(len(octets), dtype=np.intp) * STRIDE
    lengths = np.array([len(p) for p in octets] if room is None else room, np.int64)
    columns, checks = inner.read(FrameMemory(memory), at, lengths, None, "dst_upper")
    verdicts = np.full(len(octets), GOOD, np.uint8)
    unbound = MARTIAN.take(columns.header["dst_upper"])  # as the look-up finds them
    checks = (*checks, (unbound, Verdict.DROP_NOT_POOL))
    survivors(checks, verdicts, np.arange(len(octets), dtype=np.intp))
    return columns, verdicts.tolist()


def header_of(columns: Inner) -> bytes:
    octets: bytes = columns.header[0].tobytes()[:20]
    return octets


def test_columns_say_what_the_packet_says() -> None:
    packet = ipv4("192.0.2.77", "203.0.113.9", bytes(5))
    columns, verdicts = read([packet])
    assert verdicts == [GOOD]
    assert columns.total_len.tolist() == [25]
    assert columns.src.tolist() == [0xC000024D]
    assert columns.dst.tolist() == [0xCB007109]
    assert header_of(columns) == packet[:20]
    assert len(columns) == 1


@given(st.lists(traffic.ipv4_packets(), min_size=1, max_size=4), st.integers(0, 60))
def test_r1_is_what_the_oracle_says(octets: list[bytes], cut: int) -> None:
    octets[0] = octets[0][: max(0, len(octets[0]) - cut)]
    verdicts = read(octets)[1]
    assert [NAMES[verdict] if verdict else "" for verdict in verdicts] == [
        oracle.why_not_v4(packet) for packet in octets
    ]


@pytest.mark.parametrize("room", [-3, 0, 19, 20, 24])
def test_no_octet_behind_the_room_makes_a_packet_whole(room: int) -> None:
    wanted = Verdict.DROP_NOT_IP if room < 0 else Verdict.DROP_V4_MALFORMED
    assert read([ipv4(payload=bytes(5))], [room])[1] == [wanted]


@pytest.mark.parametrize("words", range(5, 16))
def test_checksums_cover_options_and_nothing_else(words: int) -> None:
    options = bytes(range(1, (words - 5) * 4 + 1))
    packet = bytearray(ipv4(options=options, payload=b"behind"))
    assert read([bytes(packet)])[1] == [GOOD]
    packet[words * 4] ^= 1  # the payload
    assert read([bytes(packet)])[1] == [GOOD]
    packet[words * 4 - 1] ^= 1
    assert read([bytes(packet)])[1] == [Verdict.DROP_V4_CHECKSUM]


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(2, 255), st.integers(0, 255))
def test_changed_headers_have_the_checksum_of_a_new_one(
    ident: int, tos: int, ttl: int, new_tos: int
) -> None:
    columns, _ = read([ipv4(ident=ident, tos=tos, ttl=ttl)])
    inner.decrement_ttl(columns)
    assert header_of(columns) == ipv4(ident=ident, tos=tos, ttl=ttl - 1)[:20]
    inner.set_tos(columns, np.array([new_tos], np.uint8))
    assert header_of(columns) == ipv4(ident=ident, tos=new_tos, ttl=ttl - 1)[:20]
    inner.set_ttl(columns, 200)
    assert header_of(columns) == ipv4(ident=ident, tos=new_tos, ttl=200)[:20]


def test_a_checksum_of_ones_is_a_zero() -> None:
    """Both verify (RFC 1071); what we write is what summing anew gives (RFC 1624 section 3)."""
    ident = next(n for n in range(1 << 16) if ipv4(ident=n, ttl=9)[10:12] == bytes(2))
    packet = bytearray(ipv4(ident=ident, ttl=9))
    packet[10:12] = b"\xff\xff"
    columns, verdicts = read([bytes(packet)])
    assert verdicts == [GOOD]
    inner.decrement_ttl(columns)
    assert header_of(columns) == ipv4(ident=ident, ttl=8)[:20]


def test_the_last_ttls() -> None:
    columns, _ = read([ipv4(ttl=ttl) for ttl in (0, 1, 2, 255)])
    mask, verdict = inner.ttl_check(columns)
    assert mask.tolist() == [True, True, False, False]
    assert verdict is Verdict.DROP_TTL


def test_take_copies() -> None:
    columns, _ = read([ipv4(ident=n) for n in range(3)])
    taken = columns.take(np.array([2], np.intp))
    inner.set_ttl(taken, 1)
    assert taken.at.tolist() == [2 * STRIDE]
    assert columns.header["ttl"].tolist() == [64] * 3
    assert IPv4Address(int(taken.dst[0])) == packets.CLIENT4


@given(st.lists(st.sampled_from([0, 1, 0xFFFD, 0xFFFE, 0xFFFF]), min_size=1, max_size=5))
def test_r4_at_the_ends_of_the_checksum(raw: list[int]) -> None:
    """RFC 1624: the sum of a header after the step is as right or as wrong as it was before."""
    columns, _ = read([ipv4(payload=bytes(5))] * len(raw))
    columns.header["raw_checksum"] = raw
    before = columns.header.copy()
    inner.decrement_ttl(columns)
    assert (columns.header["ttl"] == before["ttl"] - 1).all()
    assert columns.header["raw_checksum"].tolist() == AFTER_TTL_STEP[raw].tolist()
    for name in ("protocol", "src", "start", "dst_and_ports"):
        assert (columns.header[name] == before[name]).all()


def test_plain_are_whole_packets_without_options() -> None:
    fine = ipv4(payload=bytes(4))
    assert read([fine, fine])[0].plain
    for odd in (
        ipv4(payload=bytes(3)),
        ipv4(payload=bytes(4), fragment=0x2000),
        ipv4(payload=bytes(4), fragment=1),
        ipv4(payload=bytes(4), options=bytes(4)),
    ):
        columns, _ = read([fine, odd])
        assert not columns.plain
        assert not columns.take(np.array([0])).plain, "nobody looks again"
    assert read([ipv4(payload=bytes(4), fragment=0x4000)])[0].plain, "DF is no fragment"
