"""Clamping the MSS of TCP SYNs: both directions, SYNs alone, and within their options only."""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.pipeline.mss import default_mss
from tests import oracle
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6

SYN, ACK = 0x02, 0x10
MSS: Final = 1420


@cache
def machine() -> Machine:
    return Machine(worlds.world(mss=MSS))


def pseudo_sum(src: bytes, dst: bytes, segment: bytes) -> int:
    return oracle.checksum(src + dst + struct.pack("!HH", 6, len(segment)) + segment)


def tcp(options: bytes = b"", flags: int = SYN, payload: bytes = b"", words: int = 0) -> bytes:
    """A segment from packets.FAR to worlds.leased(1), without its checksum."""
    words = words or 5 + len(options) // 4
    head = struct.pack("!HHIIBBHHH", 4711, 80, 1, 0, words << 4, flags, 1000, 0, 0)
    return head + options + payload


def with_sum(segment: bytes, src: bytes, dst: bytes) -> bytes:
    total = pseudo_sum(src, dst, segment)
    return segment[:16] + struct.pack("!H", total) + segment[18:]


def through(segment: bytes, *, out: bool = False, fragment: int = 0x4000) -> bytes:
    """The segment that leaves, into the tunnel or out of it; its checksum was checked."""
    ends = packets.FAR, worlds.leased(1)
    src, dst = reversed(ends) if out else ends
    whole = with_sum(segment, src.packed, dst.packed)
    packet = ipv4(src, dst, whole, protocol=6, fragment=fragment)
    frame = ether(ipv6(packet)) if out else ether(packet)
    (fate,) = machine().run([frame], worlds.ACCESS, worlds.NOW_S)
    assert fate.frame is not None
    left = fate.frame[34 if out else 74 :]
    assert pseudo_sum(src.packed, dst.packed, left) == 0
    return left


def offered(left: bytes) -> int:
    at = left.index(b"\x02\x04", 20)
    return int(struct.unpack_from("!H", left, at + 2)[0])


def option(mss: int) -> bytes:
    return struct.pack("!BBH", 2, 4, mss)


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize(
    ("asked", "given"), [(1460, MSS), (MSS, MSS), (MSS - 1, MSS - 1), (65535, MSS), (0, 0)]
)
def test_only_what_is_larger_is_lowered(asked: int, given: int, *, out: bool) -> None:
    assert offered(through(tcp(option(asked)), out=out)) == given
    assert offered(through(tcp(option(asked), flags=SYN | ACK), out=out)) == given


def test_at_an_odd_octet_behind_other_options() -> None:
    for before in (b"\x01", b"\x01\x01", b"\x03\x03\x07", b"\x08\x0a" + bytes(8) + b"\x01"):
        options = (before + option(1460)).ljust(20, b"\0")
        assert offered(through(tcp(options, payload=b"odd"))) == MSS


@pytest.mark.parametrize(
    "segment",
    [
        tcp(option(1460), flags=ACK),
        tcp(payload=option(1460)),  # no options at all: that is payload
        tcp(b"\0\0\0\0" + option(1460)),  # behind the end of the list
        tcp(b"\x08\x00\x01\x01" + option(1460)),  # an option of no length
        tcp(b"\x08\x01\x01\x01" + option(1460)),
        tcp(b"\x08\xff\x01\x01" + option(1460)),  # beyond its header
        tcp(b"\x02\x03\x05\x01"),
        tcp(b"\x01\x01\x02\x04", payload=b"\x05\xb4"),  # begins at the end
        tcp(option(1460), words=4),
        tcp(option(1460), words=15),
    ],
)
def test_everything_else_stays_as_it_is(segment: bytes) -> None:
    assert through(segment)[18:] == segment[18:]


def test_other_fragments_than_the_first_have_no_header() -> None:
    segment = tcp(option(1460))
    assert through(segment, fragment=0x0005)[18:] == segment[18:]
    assert offered(through(segment, fragment=0x2000)) == MSS


def test_packets_with_ip_options_have_their_header_behind_them() -> None:
    src, dst = packets.FAR, worlds.leased(1)
    segment = with_sum(tcp(option(1460)), src.packed, dst.packed)
    frame = ether(ipv4(src, dst, segment, protocol=6, options=b"\x01" * 8))
    (fate,) = machine().run([frame], worlds.INTERNET, worlds.NOW_S)
    assert fate.frame is not None
    assert offered(fate.frame[82:]) == MSS


def test_off_unless_it_is_wanted() -> None:
    frame = ether(ipv4(payload=tcp(option(1460)), protocol=6))
    (fate,) = Machine(worlds.world()).run([frame], worlds.INTERNET, worlds.NOW_S)
    assert fate.frame is not None
    assert offered(fate.frame[74:]) == 1460


def test_the_default_leaves_room_for_both_headers() -> None:
    assert default_mss(1460) == 1420


def wanted(segment: bytes) -> bytes:
    """The segment with its MSS lowered, read octet by octet (checksum left out)."""
    octets, words = bytearray(segment), segment[12] >> 4 if len(segment) > 12 else 0
    end = words * 4
    if len(segment) < 20 or words < 5 or end > len(segment) or not segment[13] & SYN:
        return segment
    at = 20
    while at + 4 <= end and octets[at] != 0:
        if octets[at] == 1:
            at += 1
        elif octets[at] == 2 and octets[at + 1] == 4:
            value = int.from_bytes(octets[at + 2 : at + 4], "big")
            octets[at + 2 : at + 4] = min(value, MSS).to_bytes(2, "big")
            break
        elif octets[at + 1] < 2:
            break
        else:
            at += octets[at + 1]
    return bytes(octets)


@settings(max_examples=200)
@given(
    head=st.sampled_from([b"", b"\x01", b"\x08\x04\1\1", b"\x02\x03\1", b"\x03\x03\x09"]),
    body=st.one_of(st.just(option(9000)), st.binary(max_size=12)),
    tail=st.binary(max_size=6),
    words=st.integers(0, 15),
    flags=st.sampled_from([SYN, SYN, ACK]),
)
def test_any_options_are_read_as_one_octet_after_the_other(
    head: bytes, body: bytes, tail: bytes, words: int, flags: int
) -> None:
    segment = tcp(flags=flags, words=words or 5) + head + body + tail
    left = through(segment)
    assert left[:16] + left[18:] == wanted(segment)[:16] + wanted(segment)[18:]
