from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.params import (
    address4,
    address6,
    flag,
    number,
    port_set_row,
    text,
    unix_time,
)
from dstmrouter.errors import LeaseError
from dstmrouter.protocols.granted import PortSet

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "number": lambda params: number(params, "number", 1, 9),
    "flag": lambda params: flag(params, "flag"),
    "at": lambda params: unix_time(params, "at"),
    "text": lambda params: text(params, "text"),
    "client6": address6,
    "ipv4": address4,
}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("number", 9, 9),
        ("number", None, None),
        ("flag", True, True),
        ("flag", False, False),
        ("at", 0, 0.0),
        ("at", 1.5, 1.5),
        ("at", None, None),
        ("text", "é", "é"),
        ("text", None, ""),
        ("client6", "2001:DB8::7", IPv6Address("2001:db8::7")),
        ("ipv4", "192.0.2.7", IPv4Address("192.0.2.7")),
        ("ipv4", None, None),
    ],
)
def test_what_is_taken(key: str, value: object, expected: object) -> None:
    assert READERS[key]({key: value}) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", 0),
        ("number", 10),
        ("number", True),
        ("number", 1.0),
        ("number", "1"),
        ("flag", None),
        ("flag", 1),
        ("flag", "yes"),
        ("at", True),
        ("at", "now"),
        ("at", float("nan")),
        ("at", float("inf")),
        ("at", 1 << 70),
        ("at", [1]),
        ("text", 7),
        ("text", "a\nb"),
        ("client6", None),
        ("client6", "192.0.2.7"),
        ("client6", 7),
        ("client6", bytes(16)),
        ("ipv4", "192.0.2.256"),
        ("ipv4", 7),
        ("ipv4", b"abcd"),
    ],
)
def test_what_is_refused(key: str, value: object) -> None:
    with pytest.raises(LeaseError, match=f"^{key} .*: expected ") as refused:
        READERS[key]({key: value})
    assert refused.value.reason == "bad-request"


def test_only_a_port_set_is_told() -> None:
    assert port_set_row(None) == {}
    ports = PortSet(psid_offset=6, psid_len=8, psid=0x34)
    assert port_set_row(ports) == {"psid_offset": 6, "psid_len": 8, "psid": 0x34}
