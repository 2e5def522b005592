from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.counters import Counters

NUMBERS = 30


def counters(workers: int = 1) -> Counters:
    return Counters(bytearray(Counters.size(workers, NUMBERS)), workers, NUMBERS)


def count(
    into: Counters, worker: int, packets: list[tuple[int, int]], *, summed: bool = False
) -> None:
    numbers = np.array([number for number, _ in packets], np.uint8)
    octets = np.array([length for _, length in packets], np.int64)
    into.count(worker, numbers, octets, int(octets.sum()) if summed else None)


bursts = st.lists(
    st.tuples(st.integers(0, NUMBERS - 1), st.integers(0, 9000)), min_size=1, max_size=40
)


@given(st.lists(st.tuples(st.integers(0, 2), bursts), max_size=6), st.booleans())
def test_every_packet_and_every_octet_is_counted_once(
    work: list[tuple[int, list[tuple[int, int]]]], summed: bool
) -> None:
    ours = counters(3)
    packets, octets = Counter[int](), Counter[int]()
    for worker, burst in work:
        count(ours, worker, burst, summed=summed)
        for number, length in burst:
            packets[number] += 1
            octets[number] += length
    found = ours.totals().tolist()
    assert found[0] == [packets[number] for number in range(NUMBERS)]
    assert found[1] == [octets[number] for number in range(NUMBERS)]


def test_a_worker_writes_its_own_line_only() -> None:
    ours = counters(3)
    count(ours, 1, [(0, 60), (NUMBERS - 1, 1514)])
    count(ours, 1, [(4, 60), (4, 61)])
    assert not ours.values[[0, 2]].any()
    assert ours.values[1].sum(axis=1).tolist() == [4, 1695]


def test_workers_share_no_cache_line() -> None:
    ours = counters(2)
    assert ours.values.strides[0] % 64 == 0
    assert ours.values.strides[0] >= 2 * NUMBERS * 8
    assert Counters.size(2, NUMBERS) == 2 * ours.values.strides[0]


def test_readers_see_what_writers_count_and_a_new_worker_goes_on() -> None:
    memory = bytearray(Counters.size(1, NUMBERS))
    count(Counters(memory, 1, NUMBERS), 0, [(3, 100)])
    count(Counters(memory, 1, NUMBERS), 0, [(3, 11)])
    assert Counters(memory, 1, NUMBERS).totals()[:, 3].tolist() == [2, 111]


def test_counters_hold_more_than_32_bits() -> None:
    ours = counters()
    ours.values[0, 1, 5] = (1 << 40) - 1
    count(ours, 0, [(5, 1)])
    count(ours, 0, [(5, 1), (6, 1)])
    assert ours.totals()[1, 5] == (1 << 40) + 1


def test_what_is_counted_in_one_go_is_added() -> None:
    ours = counters(2)
    count(ours, 1, [(3, 60), (4, 70)])
    ours.add(1, 3, 5, 600)
    assert ours.totals()[:, 3].tolist() == [6, 660]
    assert ours.totals()[:, 4].tolist() == [1, 70]
