"""Single rules of the compiled path against the numpy tables they must agree with."""

from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.jit.functions import address
from dstmrouter.pipeline.compiled import packet
from dstmrouter.wire import checksum, ipv4

U = np.uint64


def test_every_upper_half_is_martian_or_not_as_in_the_table() -> None:
    upper = np.arange(1 << 16, dtype=np.uint16)
    expected = ipv4.MARTIAN[upper.byteswap()]
    found = [packet.is_martian(U(int(half) << 16 | 0x1234)) for half in upper]
    assert found == expected.tolist()


def test_every_checksum_is_updated_as_in_the_table() -> None:
    header = np.zeros(20, np.uint8)
    at = address(header)
    before, after = header[10:12].view("<u2"), []
    for value in range(1 << 16):
        before[0], header[8] = value, 64
        packet.decrement_ttl(at)
        assert header[8] == 63
        after.append(int(before[0]))
    assert after == checksum.AFTER_TTL_STEP.tolist()


@pytest.mark.parametrize(
    ("vlan", "head", "length"),
    [
        (0, "0800", 14),
        (0, "86dd", 14),
        (0, "81000000", 18),  # a priority, IEEE 802.1Q section 6.9
        (0, "8100e000", 18),
        (0, "81000005", 0),
        (5, "81002005", 18),
        (5, "81000000", 0),
        (5, "0800", 0),
    ],
)
def test_the_tag_must_be_that_of_the_port(vlan: int, head: str, length: int) -> None:
    frame = np.frombuffer(bytes(12) + bytes.fromhex(head) + bytes(8), np.uint8)
    assert packet.link_len(address(frame), U(vlan)) == length
