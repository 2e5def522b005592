from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.options import MAX_EXTENSIONS, skip_options

OPTION = bytes.fromhex("3c00010400000000")


def walk(octets: bytes, first: int, end: int | None = None) -> tuple[int, int]:
    memory = FrameMemory(bytearray(octets + bytes(64)))
    header, skip = np.array([first], np.uint8), np.zeros(1, np.intp)
    length = np.array([len(octets) if end is None else end])
    skip_options(memory, np.zeros(1, np.intp), length, header, skip)
    return int(header[0]), int(skip[0])


def test_what_follows_is_found_behind_so_many_headers_at_most() -> None:
    last = bytes.fromhex("0400010400000000")
    for n in range(MAX_EXTENSIONS):
        assert walk(OPTION * n + last, 60) == (4, 8 * n + 8)
    assert walk(OPTION * MAX_EXTENSIONS + last, 60) == (60, 8 * MAX_EXTENSIONS)


def test_a_header_that_is_not_all_there_ends_the_walk() -> None:
    longer = bytes.fromhex("0401010c") + bytes(12)
    assert walk(longer, 60) == (4, 16)
    assert walk(longer, 60, end=15) == (60, 0)
    assert walk(longer, 60, end=7) == (60, 0)


def test_hop_by_hop_options_come_first_or_lead_nowhere() -> None:
    assert walk(bytes.fromhex("0400010400000000"), 0) == (4, 8)
    assert walk(bytes.fromhex("0000010400000000"), 60) == (59, 8)
