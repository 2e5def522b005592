from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.binding import (
    OP_PUT,
    BindingColumns,
    address4,
    address6,
    concatenate,
    full_address_columns,
    text6,
    told6,
    words6,
)

TEP6 = IPv6Address("2001:db8::1")
CLIENTS = [IPv6Address(f"2001:db8:1::{n}") for n in range(1, 5)]


def columns(n: int = 4, first: int = 0, tep6: tuple[IPv6Address, ...] = (TEP6,)) -> BindingColumns:
    ipv4 = np.arange(first, first + n, dtype=np.uint32)
    return full_address_columns(ipv4, words6(CLIENTS[:n]), lifetime_s=60, tep6=tep6)


@given(st.lists(st.ip_addresses(v=6)))
def test_addresses_are_the_octets_on_the_wire(addresses: list[IPv6Address]) -> None:
    words = words6(addresses)
    assert words.shape == (len(addresses), 2)
    assert words.tobytes() == b"".join(address.packed for address in addresses)
    assert [address6(row) for row in words] == addresses


def test_words_can_be_written_and_read_from_strided_rows() -> None:
    words = words6(CLIENTS)
    words[0] = words[1]
    assert address6(words[0]) == CLIENTS[1]
    assert address6(words[:, ::-1][2][::-1]) == CLIENTS[2]


def test_ipv4_addresses_are_native_numbers() -> None:
    assert address4(np.uint32(0xCB007101)) == IPv4Address("203.0.113.1") == address4(0xCB007101)


def test_full_addresses_are_put_with_the_first_tep6_unless_told_otherwise() -> None:
    made = columns()
    assert len(made) == 4
    assert made.op.tolist() == [OP_PUT] * 4
    assert made.tep.tolist() == made.psid_len.tolist() == [0] * 4
    assert made.lifetime_s.tolist() == [60] * 4
    other = full_address_columns(
        made.ipv4,
        made.client6,
        lifetime_s=np.array([1, 2, 3, 4], np.uint32),
        tep6=[TEP6, CLIENTS[0]],
        tep=np.ones(4, np.uint8),
    )
    assert other.tep.tolist() == [1] * 4
    assert other.lifetime_s.tolist() == [1, 2, 3, 4]
    assert other.tep6 == (TEP6, CLIENTS[0])


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(BindingColumns) if field.name != "tep6"]
)
def test_columns_have_one_length(name: str) -> None:
    made = columns()
    with pytest.raises(AssertionError):
        dataclasses.replace(made, **{name: getattr(made, name)[:3]})


def test_a_part_keeps_columns_together() -> None:
    part = columns().take(np.array([2, 0], np.intp))
    assert part.ipv4.tolist() == [2, 0]
    assert [address6(row) for row in part.client6] == [CLIENTS[2], CLIENTS[0]]
    assert part.tep6 == (TEP6,)
    assert columns().take(slice(1, 3)).ipv4.tolist() == [1, 2]


def test_joining_is_the_reverse_of_taking_apart() -> None:
    whole = columns()
    joined = concatenate(
        [whole.take(slice(0, 1)), whole.take(slice(1, 1)), whole.take(slice(1, 4))]
    )
    for field in dataclasses.fields(BindingColumns):
        assert np.array_equal(getattr(joined, field.name), getattr(whole, field.name))


def test_sets_with_different_tep6_are_not_joined() -> None:
    with pytest.raises(AssertionError, match="different tep6"):
        concatenate([columns(), columns(tep6=(TEP6, CLIENTS[3]))])
    with pytest.raises(AssertionError, match="nothing to join"):
        concatenate([])


def test_addresses_as_peers_write_them() -> None:
    assert told6("2001:DB8::0:1") == told6("2001:db8::1") == IPv6Address("2001:db8::1")
    assert text6(IPv6Address("2001:db8::1")) == "2001:db8::1"
    with pytest.raises(ValueError, match="At least 3 parts"):
        told6("nonsense")
