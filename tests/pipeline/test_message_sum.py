from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline import message_sum
from dstmrouter.pipeline.memory import FrameMemory
from tests.oracle_ports import sums_up

SIZE = 20_000


def right(messages: list[bytes], sizes: list[int] | None = None, seed: int = 1) -> list[bool]:
    octets = bytearray(random.Random(seed).randbytes(SIZE))
    at = []
    end = 5
    for message in messages:
        octets[end : end + len(message)] = message
        at.append(end)
        end += len(message) + 3
    size = np.array(sizes or [len(message) for message in messages], np.int64)
    found = message_sum.right(FrameMemory(octets), np.array(at, np.intp), size)
    return [bool(each) for each in found]


def summed(message: bytes) -> bytes:
    """The message with its checksum in octets 2 and 3."""
    for checksum in range(1 << 16):
        made = message[:2] + checksum.to_bytes(2, "big") + message[4:]
        if sums_up(made):
            return made
    raise AssertionError


def test_messages_of_every_length_around_the_words() -> None:
    messages = [summed(bytes(range(1, size + 1))) for size in range(8, 26)]
    assert right(messages) == [True] * len(messages)
    broken = [message[:-1] + bytes([message[-1] ^ 1]) for message in messages]
    assert right(broken) == [False] * len(messages)


def test_no_messages_at_all() -> None:
    assert right([]) == []


def test_a_message_of_zeros_has_a_wrong_checksum() -> None:
    assert right([bytes(8), bytes(13)]) == [False, False]
    assert right([b"\xff" * 8, b"\xff" * 12]) == [True, True]


def test_lengths_that_cannot_be_are_wrong_and_read_nothing_beyond() -> None:
    sizes = [0, 7, -20, message_sum.MAX_LEN + 1, 1 << 40]
    assert right([b"\xff" * 8] * 5, sizes) == [False] * 5


@given(st.lists(st.binary(min_size=8, max_size=90), max_size=20), st.integers(0, 99))
def test_as_one_by_one(messages: list[bytes], seed: int) -> None:
    assert right(messages, seed=seed) == [sums_up(message) for message in messages]
