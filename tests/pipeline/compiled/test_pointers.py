from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from dstmrouter.pipeline.compiled import pointers
from dstmrouter.pipeline.compiled.views import address

U = np.uint64
MEMORY = np.arange(64, dtype=np.uint8)[::-1].copy()
BASE = int(address(MEMORY))


@njit
def loads(at: np.uint64) -> tuple[np.uint64, ...]:
    return (
        pointers.load8(at),
        pointers.load16(at),
        pointers.load32(at),
        pointers.load64(at),
        pointers.load16_wire(at),
        pointers.load32_wire(at),
    )


@njit
def stores(at: np.uint64, value: np.uint64) -> None:
    pointers.store64(at, value)
    pointers.store32(at + U(8), value)
    pointers.store16(at + U(12), value)
    pointers.store8(at + U(14), value)
    pointers.store16_wire(at + U(15), value)


@njit
def swaps(value: np.uint64) -> tuple[np.uint64, np.uint64]:
    return pointers.swapped16(value), pointers.swapped32(value)


@njit
def prefetches(at: np.uint64) -> np.uint64:
    pointers.prefetch(at)
    pointers.prefetch_to_write(at)
    return at


@pytest.mark.parametrize("at", range(9))
def test_words_are_read_at_any_octet(at: int) -> None:
    octets = MEMORY.tobytes()[at:]
    little = [int.from_bytes(octets[:size], "little") for size in (1, 2, 4, 8)]
    big = [int.from_bytes(octets[:size], "big") for size in (2, 4)]
    assert list(loads(U(BASE + at))) == little + big


@given(value=st.integers(0, 2**64 - 1), at=st.integers(0, 8))
def test_words_are_written_at_any_octet_and_no_further(value: int, at: int) -> None:
    memory = np.full(40, 0xAA, np.uint8)
    stores(U(int(address(memory)) + at), U(value))
    low = value.to_bytes(8, "little")
    wanted = low + low[:4] + low[:2] + low[:1] + low[1::-1]
    assert memory.tobytes() == b"\xaa" * at + wanted + b"\xaa" * (40 - at - len(wanted))


@given(value=st.integers(0, 2**64 - 1))
def test_swaps_drop_what_is_above(value: int) -> None:
    low = value.to_bytes(8, "little")
    assert swaps(U(value)) == (int.from_bytes(low[:2], "big"), int.from_bytes(low[:4], "big"))


@pytest.mark.parametrize("at", [BASE, 0, 2**64 - 1])
def test_any_address_can_be_prefetched(at: int) -> None:
    assert prefetches(U(at)) == at
