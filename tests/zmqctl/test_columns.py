from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.binding import LIFETIME_FOREVER, OP_PUT, BindingColumns
from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.columns import (
    ROWS_MAX,
    aged,
    join_in_order,
    last_wins,
    pack_columns,
    split_rows,
    unpack_columns,
)
from tests.zmqctl.samples import FIRST4, TEP6, puts, removes


def assert_equal(left: BindingColumns, right: BindingColumns) -> None:
    assert left.tep6 == right.tep6
    for name in ("op", "ipv4", "client6", "tep", "psid_offset", "psid_len", "psid", "lifetime_s"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name


def shared_address() -> BindingColumns:
    columns = puts(0, 2)
    columns.psid_offset[:] = 6
    columns.psid_len[:] = 8
    columns.psid[:] = [0x34, 0xFF]
    return columns


@pytest.mark.parametrize("columns", [puts(0, 0), puts(0, 1), puts(3, 700), shared_address()])
def test_unpacking_what_was_packed_gives_the_same(columns: BindingColumns) -> None:
    assert_equal(unpack_columns(pack_columns(columns)), columns)


def test_octets_on_the_wire_are_big_endian() -> None:
    packed = pack_columns(puts(1, 2, lifetime_s=900))
    assert packed["ipv4"] == bytes.fromhex("c6120001")
    assert packed["lifetime_s"] == bytes.fromhex("00000384")
    assert packed["tep6"] == [TEP6.packed]


def test_columns_of_port_sets_may_be_absent() -> None:
    packed = pack_columns(puts(0, 3))
    for name in ("psid_offset", "psid_len", "psid"):
        del packed[name]
    assert_equal(unpack_columns(packed), puts(0, 3))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("n", 2, "op is not 2 octets"),
        ("n", -1, "n is no number"),
        ("n", True, "n is no number"),
        ("n", ROWS_MAX + 1, "n is no number"),
        ("op", b"\x02\x02\x02", "op is neither"),
        ("op", "abc", "column op"),
        ("ipv4", b"\0" * 11, "column ipv4"),
        ("client6", b"\0" * 47, "column client6"),
        ("client6", None, "column client6"),
        ("tep", b"\0\0\1", "tep points behind"),
        ("tep6", [b"short"], "not 16 octets"),
        ("tep6", [TEP6.packed] * 256, "tep6 is no list"),
        ("tep6", None, "tep6 is no list"),
        ("psid_offset", b"\x11\x11\x11", "more than 16 bits"),
        ("psid", b"\0\0\0\0\0\1", "more than psid_len bits"),
    ],
)
def test_wrong_column_is_named(key: str, value: object, text: str) -> None:
    packed = pack_columns(puts(0, 3)) | {key: value}
    with pytest.raises(DecodeError, match=text):
        unpack_columns(packed)


def test_removals_need_no_tep6() -> None:
    packed = pack_columns(removes(0, 2)) | {"tep6": []}
    assert unpack_columns(packed).tep6 == ()


@given(
    st.dictionaries(
        st.sampled_from([*pack_columns(puts(0, 0))]),
        st.one_of(st.binary(max_size=64), st.integers(), st.lists(st.binary(max_size=16))),
    )
)
def test_any_map_gives_columns_or_a_decode_error(packed: dict[str, Any]) -> None:
    try:
        columns = unpack_columns(packed)
    except DecodeError:
        return
    assert len(columns) == packed["n"]
    assert (columns.tep[columns.op == OP_PUT] < len(columns.tep6)).all()


@pytest.mark.parametrize(("n", "rows", "sizes"), [(0, 4, [0]), (4, 4, [4]), (9, 4, [4, 4, 1])])
def test_split_keeps_every_row_in_order(n: int, rows: int, sizes: list[int]) -> None:
    parts = split_rows(puts(0, n), rows)
    assert [len(part) for part in parts] == sizes
    assert np.concatenate([part.ipv4 for part in parts]).tolist() == puts(0, n).ipv4.tolist()


def test_split_parts_do_not_see_later_writes() -> None:
    columns = puts(0, 4)
    part = split_rows(columns, 2)[0]
    columns.ipv4[:] = 0
    assert part.ipv4.tolist() == [FIRST4, FIRST4 + 1]


def test_join_has_the_effect_of_one_after_the_other() -> None:
    parts = [puts(0, 4, client=1), removes(1, 2), puts(1, 3, client=2)]
    joined = join_in_order(parts)
    clients = dict(zip((joined.ipv4 - FIRST4).tolist(), joined.client6[:, 0].tolist(), strict=True))
    assert clients == {0: 1, 1: 2, 2: 2, 3: 1}
    assert (joined.op == OP_PUT).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30))
def test_last_wins_agrees_with_a_dictionary(rows: list[tuple[int, int]]) -> None:
    n = len(rows)
    columns = puts(0, n)
    columns.ipv4[:] = [address for address, _ in rows]
    columns.psid[:] = [psid for _, psid in rows]
    columns.lifetime_s[:] = range(n)
    kept = last_wins(columns)
    keys = zip(kept.ipv4.tolist(), kept.psid.tolist(), strict=True)
    expected = {row: number for number, row in enumerate(rows)}
    assert dict(zip(keys, kept.lifetime_s.tolist(), strict=True)) == expected


def test_ageing_shortens_lifetimes_and_leaves_out_what_is_over() -> None:
    columns = puts(0, 4)
    columns.lifetime_s[:] = [5, 11, 900, LIFETIME_FOREVER]
    left = aged(columns, 10)
    assert left.lifetime_s.tolist() == [1, 890, LIFETIME_FOREVER]
    assert (left.ipv4 - FIRST4).tolist() == [1, 2, 3]


def test_ageing_keeps_removals() -> None:
    columns = removes(0, 2)
    columns.lifetime_s[:] = 0
    assert len(aged(columns, 100)) == 2


def test_tep6_keeps_its_order() -> None:
    other = IPv6Address("2001:db8:f::2")
    packed = pack_columns(puts(0, 1)) | {"tep6": [other.packed, TEP6.packed], "tep": b"\1"}
    assert unpack_columns(packed).tep6 == (other, TEP6)
