from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.jit.functions import NONE, U, address, compiled, field_at, span
from dstmrouter.wire import ipv6


@compiled
def total(first: np.uint64, end: np.uint64) -> np.uint64:
    result = NONE
    for i in span(first, end):
        result += i
    return result


def test_numbers_stay_whole_and_wrap() -> None:
    assert total(U(2), U(5)) == 2 + 3 + 4
    assert total(U(2**64 - 3), U(2**64 - 1)) == (2 * 2**64 - 5) % 2**64
    assert isinstance(total(U(0), U(9)), int)


def test_an_address_is_of_contiguous_memory() -> None:
    array = np.arange(8, dtype=np.uint32)
    assert address(array[2:]) - address(array) == 8
    with pytest.raises(AssertionError):
        address(array[::2])


def test_fields_are_found_where_the_layout_has_them() -> None:
    assert field_at(ipv6.HEADER, "hop_limit") == 7
