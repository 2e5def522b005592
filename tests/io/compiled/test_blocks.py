"""The compiled walk against the packets themselves; tests/io/test_packetrx.py has real rings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.io.blockring import BlockRing
from dstmrouter.io.compiled.blocks import CompiledBlocks
from dstmrouter.io.uapi_packet import PACKET, TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID
from dstmrouter.io.umem import XDP_PACKET_HEADROOM
from tests.io.test_blockring import BLOCK_SIZE, FIRST, Kernel, blocks_of_packets

CHUNK = 2048
FRAMES = 64
MAX_LEN = 250


class Ring:
    """A ring, a kernel that fills it, and frames to copy into."""

    def __init__(self, blocks: int) -> None:
        self.memory, self.frames = bytearray(blocks * BLOCK_SIZE), bytearray(FRAMES * CHUNK)
        self.kernel, self.walk = Kernel(self.memory), BlockRing(self.memory, BLOCK_SIZE)
        self.compiled = CompiledBlocks(self.walk, self.memory, self.frames, MAX_LEN)
        self.too_long = 0

    def receive(self, limit: int) -> list[bytes]:
        frames = np.arange(limit, dtype=np.uint64)[::-1] * np.uint64(CHUNK)
        descs, too_long = self.compiled.receive(frames)
        self.too_long += too_long
        assert (descs["addr"] - XDP_PACKET_HEADROOM).tolist() == frames[: len(descs)].tolist()
        assert not descs["options"].any()
        return [
            bytes(self.frames[int(at) : int(at) + int(n)])
            for at, n in zip(descs["addr"], descs["len"], strict=True)
        ]


@given(
    arriving=blocks_of_packets,
    blocks=st.integers(2, 4),
    turns=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), max_size=20),
)
def test_packets_come_in_order_and_blocks_go_back(
    arriving: list[list[bytes]], blocks: int, turns: list[tuple[int, int]]
) -> None:
    ring = Ring(blocks)
    waiting, seen = list(arriving), list[bytes]()
    for coming, limit in turns + [(blocks, FRAMES)] * (len(arriving) + 1):
        for _ in range(coming):
            if waiting and ring.kernel.fill_block(waiting[0]):
                waiting.pop(0)
        seen += ring.receive(limit)
    sent = [packet for block in arriving for packet in block]
    assert seen == [packet for packet in sent if len(packet) <= MAX_LEN]
    assert ring.too_long == len(sent) - len(seen)
    assert not any(ring.walk.is_ours(block) for block in range(blocks))


@pytest.mark.parametrize("status", [TP_STATUS_VLAN_VALID, TP_STATUS_CSUMNOTREADY])
def test_a_packet_that_is_not_plain_is_left_to_the_other_walk(status: int) -> None:
    ring = Ring(2)
    packets = [bytes([number] * 60) for number in range(3)]
    ring.kernel.fill_block(packets)
    second = FIRST + int(np.frombuffer(ring.memory, PACKET, 1, FIRST)["next_offset"][0])
    np.frombuffer(ring.memory, PACKET, 1, second)["status"] |= status
    assert ring.receive(FRAMES) == packets[:1]
    assert ring.receive(FRAMES) == []
    assert ring.walk.take(1).tolist() == [second]
    ring.walk.release()
    assert ring.receive(FRAMES) == packets[2:]
    assert not ring.walk.ready()
