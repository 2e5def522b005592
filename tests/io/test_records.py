from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.io.records import records_at_every_octet


@pytest.mark.parametrize(("octets", "size", "count"), [(10, 4, 7), (4, 4, 1), (3, 4, 0), (0, 1, 0)])
def test_a_record_begins_at_every_octet_and_none_ends_outside(
    octets: int, size: int, count: int
) -> None:
    memory = bytearray(range(octets))
    records = records_at_every_octet(memory, size)
    assert len(records) == count
    assert [r.tobytes() for r in records] == [bytes(memory[i : i + size]) for i in range(count)]


def test_records_are_views() -> None:
    memory = bytearray(8)
    records_at_every_octet(memory, 2)[np.array([1, 5])] = np.frombuffer(b"abcd", "V2")
    assert memory == b"\0ab\0\0cd\0"
