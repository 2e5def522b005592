"""How a datagram looks that was put together; what becomes of it: test_reassembly.py."""

from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.pipeline import joining
from dstmrouter.pipeline.memory import FrameMemory
from tests.pipeline.packets import ether, ipv6

NOT_ECT, ECT1, ECT0, CE = (1 << ecn for ecn in range(4))


@pytest.mark.parametrize(
    ("seen", "leaves"),
    [
        (NOT_ECT, joining.FIRST_ONES),
        (ECT0, joining.FIRST_ONES),
        (ECT0 | ECT1, joining.FIRST_ONES),
        (NOT_ECT | ECT0, joining.FIRST_ONES),
        (CE, 3),
        (CE | ECT0 | ECT1, 3),
        (CE | NOT_ECT, joining.DROP),
        (CE | NOT_ECT | ECT0, joining.DROP),
    ],
)
def test_rfc3168_section_5_3(seen: int, leaves: int) -> None:
    assert joining.ECN_OF[seen] == leaves


@pytest.mark.parametrize("tci", [None, 77])
@pytest.mark.parametrize("options", [b"", bytes.fromhex("2c00010400000000")])
@pytest.mark.parametrize("mark", [joining.FIRST_ONES, 3])
def test_the_header_moves_up_to_the_data(tci: int | None, options: bytes, mark: int) -> None:
    fragment = bytes.fromhex("0400000100000007")
    first = 0 if options else 44
    packet = ipv6(options + fragment + b"data", next_header=first, traffic_class=0xB8)
    frame = ether(packet, tci)
    memory = bytearray(frame + bytes(64))
    link_len = 14 if tci is None else 18
    data_at = link_len + 48 + len(options)
    memory[data_at + 4 : data_at + 8] = b"more"
    where = (np.array([0]), np.array([link_len]), np.array([data_at]))
    marks = np.array([mark], np.uint8)
    at, length = joining.finish(FrameMemory(memory), where, np.array([8]), marks)
    start, size = int(at[0]), int(length[0])
    ecn = 0 if mark == joining.FIRST_ONES else mark
    whole = ether(ipv6(b"datamore", next_header=4, traffic_class=0xB8 | ecn), tci)
    assert memory[start : start + size] == whole
