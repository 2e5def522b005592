"""Parameters of control calls: each is read by a function that refuses what it does not expect.

Parameters come from a stranger; a refusal is a `LeaseError` with the reason `bad-request`.
"""

from __future__ import annotations

import dataclasses
import math
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, TypeAlias

from dstmrouter.errors import LeaseError

if TYPE_CHECKING:
    from dstmrouter.protocols.granted import PortSet

Params: TypeAlias = dict[str, Any]


def number(params: Params, key: str, low: int, high: int) -> int | None:
    """An integer from `low` to `high`, or None if it is not given."""
    value = params.get(key)
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise bad_request(f"{key} {value!r:.40}: expected an integer from {low} to {high}")
    return value


def flag(params: Params, key: str) -> bool:
    """True or false; false if it is not given."""
    value = params.get(key, False)
    if not isinstance(value, bool):
        raise bad_request(f"{key} {value!r:.40}: expected true or false")
    return value


def unix_time(params: Params, key: str) -> float | None:
    """Seconds since 1970, or None if it is not given."""
    value = params.get(key)
    if value is None:
        return None
    if type(value) not in {int, float} or not math.isfinite(value) or abs(value) > 1e15:
        raise bad_request(f"{key} {value!r:.40}: expected seconds since 1970")
    return float(value)


def text(params: Params, key: str) -> str:
    """Printable text; empty if it is not given."""
    value = params.get(key) or ""
    if not isinstance(value, str) or not value.isprintable():
        raise bad_request(f"{key} {value!r:.40}: expected printable text")
    return value


def address6(params: Params) -> IPv6Address:
    """The address `client6`, which must be given."""
    value = params.get("client6")
    try:
        return IPv6Address(_string(value))
    except AddressValueError:
        raise bad_request(f"client6 {value!r:.60}: expected an IPv6 address") from None


def address4(params: Params) -> IPv4Address | None:
    """The address `ipv4`, or None if it is not given."""
    value = params.get("ipv4")
    try:
        return None if value is None else IPv4Address(_string(value))
    except AddressValueError:
        raise bad_request(f"ipv4 {value!r:.60}: expected an IPv4 address") from None


def port_set_row(ports: PortSet | None) -> Params:
    """The keys of an answer that tell a port set; none for a whole address."""
    return {} if ports is None else dataclasses.asdict(ports)


def bad_request(expected: str) -> LeaseError:
    """The refusal of parameters."""
    return LeaseError("bad-request", expected)


def _string(value: object) -> str:
    """`value`, which must be text: an address can also be made from an integer or octets."""
    if not isinstance(value, str):
        raise AddressValueError
    return value
