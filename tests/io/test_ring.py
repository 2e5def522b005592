from __future__ import annotations

import mmap
from collections import deque

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DstmError
from dstmrouter.io.ring import ConsumerRing, ProducerRing, RingOffsets, require_store_order
from dstmrouter.io.umem import DESC, Descs

SLOTS = 64
OFFSETS = RingOffsets(producer=0, consumer=64, entries=192, flags=128)
U32 = 1 << 32


class Ring:
    """Both ends of one ring over the same memory, as the kernel and we have them."""

    def __init__(self, start: int = 0, entry: npt.DTypeLike = DESC) -> None:
        self.memory = mmap.mmap(-1, OFFSETS.entries + SLOTS * np.dtype(entry).itemsize)
        self.words = memoryview(self.memory).cast("I")
        self.words[0] = self.words[16] = start
        self.producer = ProducerRing(self.memory, OFFSETS, SLOTS, entry)
        self.consumer = ConsumerRing(self.memory, OFFSETS, SLOTS, entry)


def descs(n: int, first: int = 1) -> Descs:
    made = np.zeros(n, DESC)
    made["addr"] = np.arange(first, first + n) * 2048
    made["len"] = np.arange(first, first + n)
    made["options"] = 7
    return made


@pytest.mark.parametrize("n", [0, 1, 7, 8, 63, 64])
@pytest.mark.parametrize("start", [0, 60, U32 - 3])
def test_what_is_submitted_is_taken(n: int, start: int) -> None:
    ring = Ring(start)
    values = descs(n)
    assert ring.producer.submit(values) == n
    assert ring.words[0] == (start + n) % U32
    assert len(ring.consumer) == n
    assert ring.producer.room() == SLOTS - n
    taken = ring.consumer.take(SLOTS)
    assert taken.tolist() == values.tolist()
    assert ring.words[16] == (start + n) % U32
    assert ring.producer.room() == SLOTS


@pytest.mark.parametrize("start", [0, 60, U32 - 3])
def test_a_full_ring_takes_the_first_and_leaves_the_rest(start: int) -> None:
    ring = Ring(start)
    assert ring.producer.submit(descs(60)) == 60
    assert ring.producer.submit(descs(10, first=61)) == 4
    assert ring.producer.submit(descs(1)) == 0
    assert ring.consumer.take(SLOTS)["len"].tolist() == list(range(1, 65))


def test_take_obeys_its_limit_and_keeps_order() -> None:
    ring = Ring(60)
    ring.producer.submit(descs(10))
    assert ring.consumer.take(0)["len"].tolist() == []
    assert ring.consumer.take(7)["len"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert ring.consumer.take(7)["len"].tolist() == [8, 9, 10]
    assert ring.consumer.take(7)["len"].tolist() == []


def test_what_is_taken_is_a_writable_copy() -> None:
    ring = Ring()
    ring.producer.submit(descs(2))
    taken = ring.consumer.take(2)
    taken["addr"] = 0
    ring.words[16] = 0  # the same entries once more
    assert ring.consumer.take(2)["addr"].tolist() == [2048, 4096]


def test_every_second_entry_of_an_array_can_be_submitted() -> None:
    ring = Ring(60)
    assert ring.producer.submit(descs(20)[::2]) == 10
    assert ring.consumer.take(SLOTS)["len"].tolist() == list(range(1, 21, 2))


@given(
    start=st.integers(0, U32 - 1),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, SLOTS + 5)), max_size=60),
)
def test_a_ring_is_a_bounded_queue(start: int, steps: list[tuple[bool, int]]) -> None:
    ring = Ring(start)
    queue: deque[int] = deque()
    following = 1
    for submit, n in steps:
        if submit:
            accepted = ring.producer.submit(descs(n, following))
            assert accepted == min(n, SLOTS - len(queue))
            queue.extend(range(following, following + accepted))
            following += accepted
        else:
            expected = [queue.popleft() for _ in range(min(n, len(queue)))]
            assert ring.consumer.take(n)["len"].tolist() == expected
        assert len(ring.consumer) == len(queue)


def test_addresses_travel_through_a_ring_of_addresses() -> None:
    ring = Ring(62, np.uint64)
    addrs = np.arange(5, dtype=np.uint64) * 4096
    assert ring.producer.submit(addrs) == 5
    assert ring.consumer.take(5).tolist() == addrs.tolist()


def test_entries_of_another_size_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="entries of 8 octets, not 16"):
        Ring().producer.submit(np.zeros(1, np.uint64))


def test_the_kernel_asks_to_be_woken_by_a_flag() -> None:
    ring = Ring()
    assert not ring.producer.needs_wakeup()
    ring.words[32] = 1
    assert ring.producer.needs_wakeup()


def test_close_twice_unmaps_once() -> None:
    memory = mmap.mmap(-1, 4096)
    ring = ConsumerRing(memory, OFFSETS, 8, DESC)
    ring.close()
    ring.close()
    assert memory.closed


def test_a_machine_that_reorders_stores_is_refused() -> None:
    with pytest.raises(DstmError, match=r"x86_64; this machine is aarch64$"):
        require_store_order("aarch64")
