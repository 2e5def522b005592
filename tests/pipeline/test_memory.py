from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.memory import FrameMemory, shaped

PAIR = np.dtype([("upper", ">u2"), ("lower", "u1")])


@given(st.binary(min_size=8, max_size=60), st.data())
def test_a_header_is_read_at_any_octet(octets: bytes, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, len(octets) - 3)))
    found = FrameMemory(bytearray(octets)).read(np.array(positions, np.intp), PAIR)
    wanted = [(int.from_bytes(octets[p : p + 2], "big"), octets[p + 2]) for p in positions]
    assert [tuple(record) for record in found.tolist()] == wanted


def test_a_header_is_written_where_it_belongs_and_nowhere_else() -> None:
    buffer = bytearray(b"." * 12)
    records = np.array([(0x4142, 0x43), (0x6162, 0x63)], PAIR)
    FrameMemory(buffer).write(np.array([9, 1], np.intp), records)
    assert bytes(buffer) == b".abc.....ABC"


def test_what_was_read_is_a_copy() -> None:
    buffer = bytearray(6)
    memory = FrameMemory(buffer)
    found = memory.read(np.array([0], np.intp), PAIR)
    found["lower"] = 9
    assert bytes(buffer) == bytes(6)


def test_records_reach_to_the_last_octet_and_not_beyond() -> None:
    memory = FrameMemory(bytearray(b"abcdef"))
    assert len(memory.records(4)) == 3
    assert memory.records(4)[2].tobytes() == b"cdef"


def test_views_follow_the_memory() -> None:
    buffer = bytearray(4)
    memory = FrameMemory(buffer)
    view = memory.records(2)
    buffer[1:3] = b"xy"
    assert view[1].tobytes() == b"xy"
    assert memory.records(2) is view


def test_records_get_the_fields_of_another_dtype() -> None:
    assert shaped(np.array([b"abc", b"def"], "V3"), PAIR).tolist() == [(0x6162, 99), (0x6465, 102)]
    assert len(shaped(np.zeros(0, "V3"), PAIR)) == 0


def test_octets_of_one_place() -> None:
    buffer = bytearray(b"abcdef")
    memory = FrameMemory(buffer)
    buffer[2] = 0x2E
    assert memory.octets(1, 3) == b"b.d"
