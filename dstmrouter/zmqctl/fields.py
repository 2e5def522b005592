"""Types of message fields: each carries its check (docs/zmq-protocol.md has the ranges)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

from dstmrouter.binding import BindingColumns
from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.columns import unpack_columns
from dstmrouter.zmqctl.usage_columns import UsageColumns, unpack_ended, unpack_usage

EPOCH_OCTETS: Final = 16

Check: TypeAlias = Callable[[Any], Any]
"""Returns the value as the message holds it; raises DecodeError without the field's name."""


def number(low: int, high: int) -> Check:
    """An integer from `low` to `high`, both included."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise DecodeError(f"expected a number from {low} to {high}")
        return value

    return check


def octets(low: int, high: int) -> Check:
    """From `low` to `high` octets."""

    def check(value: object) -> bytes:
        if not isinstance(value, bytes) or not low <= len(value) <= high:
            raise DecodeError(f"expected {low} to {high} octets")
        return value

    return check


def _text(pattern: str) -> Check:
    matches = re.compile(pattern, re.ASCII).fullmatch

    def check(value: object) -> str:
        if not isinstance(value, str) or matches(value) is None:
            raise DecodeError(f"expected text that matches {pattern}")
        return value

    return check


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise DecodeError("expected true or false")
    return value


def _map(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise DecodeError("expected a map with text keys")
    return value


def _counts(value: object) -> dict[str, int]:
    counts = _map(value)
    if not all(type(count) is int and 0 <= count < 2**63 for count in counts.values()):
        raise DecodeError("expected a map of counts")
    return counts


Count = Annotated[int, number(0, 2**63 - 1)]
Id = Annotated[int, number(0, 2**53 - 1)]  # exact in languages whose only number is a double
Epoch = Annotated[bytes, octets(EPOCH_OCTETS, EPOCH_OCTETS)]
StoreId = Annotated[bytes, octets(0, EPOCH_OCTETS)]
Name = Annotated[str, _text(r"[\w.:@-]{1,64}")]
Word = Annotated[str, _text(r"[\w.-]{1,64}")]
Line = Annotated[str, _text(r"(?s:.){0,2000}")]
Part = Annotated[int, number(0, 2**16 - 1)]
Parts = Annotated[int, number(1, 2**16)]
Flag = Annotated[bool, _flag]
Map = Annotated[dict[str, Any], _map]
Counts = Annotated[dict[str, int], _counts]
Bindings = Annotated[BindingColumns, unpack_columns]
Usage = Annotated[UsageColumns, unpack_usage]
EndedUsage = Annotated[UsageColumns, unpack_ended]
