from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from dstmrouter.binding import USAGE_FIELDS
from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.usage_columns import (
    USAGE_ROWS_MAX,
    UsageColumns,
    pack_usage,
    unpack_ended,
    unpack_usage,
)


def columns(n: int = 2, until: list[float] | None = None) -> UsageColumns:
    rows = np.arange(n)
    return UsageColumns(
        account=(rows + 5).astype(np.uint64),
        ipv4=(rows + 0xC0000207).astype(np.uint32),
        client6=np.arange(2 * n, dtype=np.uint64).reshape(n, 2),
        psid_offset=np.full(n, 6, np.uint8),
        psid_len=np.full(n, 8, np.uint8),
        psid=(rows + 0x34).astype(np.uint16),
        usage=(np.arange(4 * n, dtype=np.uint64) << np.uint64(40)).reshape(n, 4),
        source=(rows % 2).astype(np.uint16),
        sources=("s1", "s2"),
        until=None if until is None else np.array(until),
    )


@pytest.mark.parametrize("until", [None, [1.5, 1_790_000_000.25]])
def test_what_is_packed_comes_back(until: list[float] | None) -> None:
    sent = columns(until=until)
    packed = msgpack.unpackb(msgpack.packb(pack_usage(sent)))
    got = unpack_usage(packed)
    assert len(got) == 2
    for name in (
        "account",
        "ipv4",
        "client6",
        "psid_offset",
        "psid_len",
        "psid",
        "usage",
        "source",
    ):
        assert np.array_equal(getattr(got, name), getattr(sent, name)), name
    assert got.sources == sent.sources
    assert (None if got.until is None else got.until.tolist()) == until


def test_numbers_are_big_endian_and_addresses_as_on_the_wire() -> None:
    packed = pack_usage(columns())
    assert packed["account"].hex() == f"{5:016x}{6:016x}"
    assert packed["ipv4"].hex() == "c0000207c0000208"
    assert packed["client6"] == np.arange(4, dtype="<u8").tobytes()
    assert packed["octets_to_client"].hex() == f"{1 << 40:016x}{5 << 40:016x}"
    assert packed["psid"].hex() == "00340035"
    assert set(USAGE_FIELDS) < set(packed)
    assert "until" not in packed


def test_the_largest_answer_fits_a_message() -> None:
    assert len(msgpack.packb(pack_usage(columns(USAGE_ROWS_MAX)))) < 2_359_296


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"n": 3}, "column account is not 24 octets for 3 rows"),
        ({"n": USAGE_ROWS_MAX + 1}, "n is no number from 0 to 16384"),
        ({"n": True}, "n is no number"),
        ({"psid": None}, "column psid is not 4 octets"),
        ({"octets_to_client": b"1"}, "column octets_to_client is not 16 octets"),
        ({"until": b""}, "column until is not 16 octets"),
        ({"sources": ["s1"]}, "source points behind"),
        ({"sources": "s1"}, "sources is no list"),
        ({"sources": [1, 2]}, "sources is no list"),
    ],
)
def test_whatever_is_wrong_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        unpack_usage(pack_usage(columns()) | change)


def test_what_has_ended_must_say_when() -> None:
    assert len(unpack_ended(pack_usage(columns(until=[1.5, 2.5])))) == 2
    with pytest.raises(DecodeError, match="until is missing"):
        unpack_ended(pack_usage(columns()))


@pytest.mark.parametrize("until", [None, [1.5, 2.5, 3.5]])
def test_some_of_the_bindings(until: list[float] | None) -> None:
    some = columns(3, until).take(slice(1, None))
    assert some.account.tolist() == [6, 7]
    assert some.usage[0].tolist() == columns(3).usage[1].tolist()
    assert (some.until is None) is (until is None)
    assert unpack_usage(pack_usage(some)).source.tolist() == [1, 0]


def test_an_answer_that_is_no_map() -> None:
    with pytest.raises(DecodeError, match="expected a map"):
        unpack_usage([])
