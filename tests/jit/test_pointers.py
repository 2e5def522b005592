from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from dstmrouter.jit import pointers
from dstmrouter.jit.functions import address

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


@njit
def last_word(at: np.uint64) -> int:
    return int(pointers.words(at, 3)[2])


@njit
def three_words(at: np.uint64) -> tuple[np.uint64, ...]:
    return pointers.numbers(at, 3)


@pytest.mark.parametrize("at", [0, 5])
def test_memory_is_a_tuple_of_words(at: int) -> None:
    octets = MEMORY.tobytes()[at : at + 24]
    assert list(three_words(U(BASE + at))) == np.frombuffer(octets, "<u8").tolist()


def test_memory_is_an_array_of_words() -> None:
    assert last_word(U(BASE)) == MEMORY[16:24].view("<u8")[0]


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


@pytest.mark.parametrize("at", [BASE, 0, 2**64 - 1], ids=["memory", "lowest", "highest"])
def test_any_address_can_be_prefetched(at: int) -> None:
    assert prefetches(U(at)) == at


@njit
def exchange(at: np.uint64, value: np.uint64) -> np.uint64:
    former = pointers.observe32(at)
    pointers.publish32(at, value)
    return former


def test_words_for_others_are_exchanged_whole() -> None:
    words = np.array([1, 2, 3], np.uint32)
    assert exchange(U(int(address(words)) + 4), U(0x1_0000_0005)) == 2
    assert words.tolist() == [1, 5, 3]


@njit
def copies(target: np.uint64, source: np.uint64, size: np.uint64) -> None:
    pointers.copy(target, source, size)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 33])
def test_exactly_so_many_octets_are_copied(size: int) -> None:
    target = np.zeros(40, np.uint8)
    copies(U(int(address(target)) + 3), U(BASE + 5), U(size))
    assert target.tobytes() == bytes(3) + MEMORY.tobytes()[5 : 5 + size] + bytes(37 - size)
