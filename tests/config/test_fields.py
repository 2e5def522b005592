"""Types of single values: addresses, prefixes, ranges, endpoints, keys, names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dstmrouter.config.fields import (
    AbsolutePath,
    CurveKey,
    Endpoint,
    FlowLabel,
    Global6,
    Interface,
    Name,
    Prefix4,
    Range4,
    SomeRange4,
    Unicast4,
    is_remote,
)
from tests.config.documents import KEY


def parse(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


GOOD = [
    (Name, "gw-1.example_2", "gw-1.example_2"),
    (Interface, "enp1s0f0np0.100", "enp1s0f0np0.100"),
    (Unicast4, "203.0.113.1", IPv4Address("203.0.113.1")),
    (Unicast4, "10.0.0.1", IPv4Address("10.0.0.1")),
    (Global6, "2001:DB8::1", IPv6Address("2001:db8::1")),
    (Global6, "fd00::1", IPv6Address("fd00::1")),
    (Prefix4, "203.0.113.0/24", IPv4Network("203.0.113.0/24")),
    (Prefix4, "203.0.113.7/32", IPv4Network("203.0.113.7/32")),
    (FlowLabel, "hash", "hash"),
    (FlowLabel, 0xFFFFF, 0xFFFFF),
    (Endpoint, "tcp://[2001:db8::1]:5701", "tcp://[2001:db8::1]:5701"),
    (Endpoint, "tcp://192.0.2.1:1", "tcp://192.0.2.1:1"),
    (Endpoint, "tcp://*:65535", "tcp://*:65535"),
    (Endpoint, "ipc:///run/x", "ipc:///run/x"),
    (CurveKey, KEY, KEY),
]

BAD = [
    (Name, ["", "a b", "-a", "a" * 64, "ä", 3]),
    (Interface, ["", ".", "..", "a/b", "a:b", "a b", "a" * 16, 0]),
    (Unicast4, ["0.0.0.1", "127.0.0.1", "169.254.0.1", "224.0.0.1", "255.255.255.255", "1.2.3", 1]),
    (
        Global6,
        ["fe80::1", "ff02::1", "::", "::1", "::ffff:192.0.2.1", "2001:db8::1%eth0", "192.0.2.1", 1],
    ),
    (Prefix4, ["192.0.2.1/24", "192.0.2.0", "10.0.0.0/7", "224.0.0.0/24", "0.0.0.0/8", "x/24", 8]),
    (SomeRange4, ["192.0.2.9-192.0.2.1", "192.0.2.1/24", "192.0.2.1-", "", "a-b", 1]),
    (FlowLabel, ["Hash", -1, 1 << 20, 1.0, True]),
    (
        Endpoint,
        [
            "udp://192.0.2.1:1",
            "tcp://192.0.2.1",
            "tcp://:5",
            "tcp://a:0",
            "tcp://a:65536",
            "tcp://2001:db8::1:5",
            "tcp://[fg::1]:5",
            "ipc://",
            "ipc://" + "x" * 108,
            1,
        ],
    ),
    (CurveKey, [KEY[:-1], KEY + "0", KEY[:-1] + " ", 5]),
    (AbsolutePath, ["relative", "", 1]),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_accepted(kind: Any, value: object, expected: object) -> None:
    assert parse(kind, value) == expected


@pytest.mark.parametrize(("kind", "value"), [(kind, v) for kind, values in BAD for v in values])
def test_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        parse(kind, value)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.0/30", "192.0.2.0", "192.0.2.3"),
        ("192.0.2.1 - 192.0.2.9", "192.0.2.1", "192.0.2.9"),
    ],
)
def test_ranges(text: str, first: str, last: str) -> None:
    assert parse(SomeRange4, text) == Range4(IPv4Address(first), IPv4Address(last))


RANGES = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(
    lambda ends: Range4(IPv4Address(0xC0000200 + min(ends)), IPv4Address(0xC0000200 + max(ends)))
)


def members(some: Range4) -> set[int]:
    return set(range(int(some.first), int(some.last) + 1))


@given(RANGES, RANGES)
def test_range_arithmetic_is_set_arithmetic(one: Range4, other: Range4) -> None:
    assert len(one) == len(members(one))
    assert one.overlaps(other) == bool(members(one) & members(other))
    assert one.contains(other) == (members(one) >= members(other))


@given(RANGES)
def test_range_reads_what_it_prints(some: Range4) -> None:
    assert parse(SomeRange4, str(some)) == some


def test_only_ipc_stays_on_the_machine() -> None:
    assert [is_remote(e) for e in ("ipc:///x", "tcp://127.0.0.1:1", "tcp://*:1")] == [
        False,
        True,
        True,
    ]
