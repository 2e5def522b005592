from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.io.blockring import BlockRing
from dstmrouter.io.uapi_packet import BLOCK, PACKET, TP_STATUS_KERNEL, TP_STATUS_USER

BLOCK_SIZE = 4096
FIRST = 48  # octets: the block's header
MAC_AT = 92


@dataclasses.dataclass
class Kernel:
    """The kernel's side of a ring, one packet at a time."""

    memory: bytearray
    block: int = 0

    def fill_block(self, packets: list[bytes]) -> bool:
        """Hand over one block with as many of `packets`; False if it is not the kernel's."""
        start = self.block * BLOCK_SIZE
        head = np.frombuffer(self.memory, BLOCK, 1, start)
        if head["status"][0] != TP_STATUS_KERNEL:
            return False
        at = start + FIRST
        for i, packet in enumerate(packets):
            length = -(-(MAC_AT + len(packet)) // 8) * 8
            header = np.frombuffer(self.memory, PACKET, 1, at)
            header["snaplen"] = header["len"] = len(packet)
            header["mac"], header["status"] = MAC_AT, TP_STATUS_USER
            header["next_offset"] = 0 if i == len(packets) - 1 else length
            self.memory[at + MAC_AT : at + MAC_AT + len(packet)] = packet
            at += length
        assert at <= start + BLOCK_SIZE
        head["num_pkts"] = len(packets)
        head["offset_to_first_pkt"] = FIRST
        head["status"] = TP_STATUS_USER
        self.block = (self.block + 1) % (len(self.memory) // BLOCK_SIZE)
        return True


def read_all(memory: bytearray, ring: BlockRing, limit: int) -> list[bytes]:
    heads = ring.take(limit)
    assert len(heads) <= limit
    headers = ring.headers(heads)
    starts = (heads + headers["mac"]).tolist()
    return [
        bytes(memory[at : at + n])
        for at, n in zip(starts, headers["snaplen"].tolist(), strict=True)
    ]


blocks_of_packets = st.lists(
    st.lists(st.binary(min_size=14, max_size=300), min_size=1, max_size=10), max_size=12
)


@given(
    arriving=blocks_of_packets,
    blocks=st.integers(2, 4),
    turns=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25), st.booleans()), max_size=20),
)
def test_the_walk_equals_the_order_of_arrival(
    arriving: list[list[bytes]], blocks: int, turns: list[tuple[int, int, bool]]
) -> None:
    """Blocks come and packets are taken in any interleaving, with late releases."""
    memory = bytearray(blocks * BLOCK_SIZE)
    kernel, ring = Kernel(memory), BlockRing(memory, BLOCK_SIZE)
    waiting = list(arriving)
    seen: list[bytes] = []
    draining = [(blocks, 40, True)] * (len(arriving) + len(turns) + 1)
    for coming, limit, release in turns + draining:
        for _ in range(coming):
            if waiting and kernel.fill_block(waiting[0]):
                waiting.pop(0)
        was_ready = ring.ready()
        taken = read_all(memory, ring, limit)
        assert bool(taken) == (was_ready and limit > 0)
        seen += taken
        if release:
            ring.release()
    assert not waiting
    assert seen == [packet for block in arriving for packet in block]
    statuses = np.ndarray((blocks,), "<u4", memory, 8, (BLOCK_SIZE,))
    assert statuses.tolist() == [TP_STATUS_KERNEL] * blocks


def test_blocks_stay_ours_until_release() -> None:
    memory = bytearray(2 * BLOCK_SIZE)
    kernel, ring = Kernel(memory), BlockRing(memory, BLOCK_SIZE)
    assert kernel.fill_block([b"a" * 60])
    assert kernel.fill_block([b"b" * 60, b"c" * 60])
    assert read_all(memory, ring, 2) == [b"a" * 60, b"b" * 60]
    assert not kernel.fill_block([b"d" * 60])
    ring.release()  # the second block has still one packet to take
    assert kernel.fill_block([b"d" * 60])
    assert not kernel.fill_block([b"e" * 60])
    assert read_all(memory, ring, 9) == [b"c" * 60, b"d" * 60]
    assert not ring.ready()
    assert len(ring.take(9)) == 0


def test_close_lets_the_memory_go() -> None:
    memory = bytearray(2 * BLOCK_SIZE)
    ring = BlockRing(memory, BLOCK_SIZE)
    ring.close()
    ring.close()
    memory.clear()  # BufferError while there are views
