from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from dstmrouter.wire import checksum
from tests import oracle

headers = st.binary(min_size=20, max_size=20)


def words(octets: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
    return np.frombuffer(octets, "<u4").reshape(1, -1)


@given(headers)
def test_a_header_is_right_with_the_sum_of_the_oracle_and_of_scapy(header: bytes) -> None:
    blank = header[:10] + bytes(2) + header[12:]
    assert oracle.checksum(blank) == scapy_checksum(blank)
    right = blank[:10] + struct.pack("!H", oracle.checksum(blank)) + blank[12:]
    assert checksum.wrong(words(right)).tolist() == [False]
    assert checksum.row_sums(words(right)).tolist() == [0]


@given(headers)
def test_wrong_is_wrong(header: bytes) -> None:
    # All zeros count as right: no header with a version is.
    expected = oracle.checksum(header) != 0 if any(header) else False
    assert checksum.wrong(words(header)).tolist() == [expected]


@given(headers, st.integers(0, 159))
def test_one_flipped_bit_is_seen(header: bytes, bit: int) -> None:
    blank = header[:10] + bytes(2) + header[12:]
    right = blank[:10] + struct.pack("!H", oracle.checksum(blank)) + blank[12:]
    flipped = (int.from_bytes(right, "big") ^ 1 << bit).to_bytes(20, "big")
    assert checksum.wrong(words(flipped)).tolist() == [True]


@pytest.mark.parametrize(
    ("octets", "is_wrong"),
    [(b"\xff" * 20, False), (b"\xff" * 18 + b"\xfe\xff", True), (b"\xff" * 19 + b"\xfe", True)],
)
def test_the_largest_sums_are_exact(octets: bytes, *, is_wrong: bool) -> None:
    assert checksum.wrong(words(octets)).tolist() == [is_wrong]


def test_rows_are_judged_one_by_one() -> None:
    good = bytes.fromhex("45ba0024000040004001" + "4de3" + "c0000201c6336407")
    bad = good[:-1] + b"\x08"
    rows = np.frombuffer(good + bad + good, "<u4").reshape(3, 5)
    assert checksum.wrong(rows).tolist() == [False, True, False]


@given(headers, st.integers(0, 0xFFFF))
def test_updated_is_what_summing_anew_gives(header: bytes, word: int) -> None:
    """RFC 1624 section 3: the first word of a header that is not all zero is replaced."""
    old = b"\x45" + header[1:10] + bytes(2) + header[12:]
    new = struct.pack("!H", word | 0x4000) + old[2:]
    less = int.from_bytes(old[:2], "big") - int.from_bytes(new[:2], "big")
    before = np.array([oracle.checksum(old)], np.int64)
    assert checksum.updated(before, np.int64(less)).tolist() == [oracle.checksum(new)]


def test_a_ttl_step_is_an_update_for_every_checksum() -> None:
    wire = np.arange(1 << 16, dtype="<u2")
    native = wire.byteswap().astype(np.int64)
    stepped = checksum.AFTER_TTL_STEP[wire].byteswap().astype(np.int64)
    assert np.array_equal(stepped, checksum.updated(native, np.int64(0x0100)))


def test_r4_vector() -> None:
    wire = np.frombuffer(bytes.fromhex("4de3"), "<u2")
    assert checksum.AFTER_TTL_STEP[wire].tobytes() == bytes.fromhex("4ee3")


@given(st.lists(st.binary(min_size=24, max_size=24), min_size=1, max_size=9))
def test_of_rows_is_what_each_row_has_alone(rows: list[bytes]) -> None:
    rows = [b"\x45" + row[1:] for row in rows]  # never all zero
    words = np.frombuffer(b"".join(rows), "<u4").reshape(len(rows), -1)
    found = checksum.of_rows(words)
    assert [field.tobytes() for field in found] == [
        oracle.checksum(row).to_bytes(2, "big") for row in rows
    ]
