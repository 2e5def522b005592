"""What every decoder of complete messages must do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import pytest

from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def assert_whole(decode: Callable[[bytes], object], octets: bytes, value: object) -> None:
    """`octets` are `value`; neither less nor more of them is anything."""
    assert decode(octets) == value
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            decode(octets[:size])
    with pytest.raises(DecodeError):
        decode(octets + bytes(4))


def assert_canonical(
    decode: Callable[[bytes], T], encode: Callable[[T], bytes], octets: bytes
) -> None:
    """Any octets are a message, of which they are the only form, or a DecodeError."""
    with contextlib.suppress(DecodeError):
        assert encode(decode(octets)) == octets
