"""From the kernel's blocks into frames, a packet at a time: `BlockRing` and `PacketCopy` in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.uapi_packet import (
    BLOCK,
    PACKET,
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_KERNEL,
    TP_STATUS_USER,
    TP_STATUS_VLAN_VALID,
)
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM
from dstmrouter.jit.functions import NONE, ONE, U, address, compiled, field_at
from dstmrouter.jit.pointers import (
    copy,
    load16,
    load32,
    observe32,
    prefetch,
    publish32,
    store64,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.io.blockring import BlockRing
    from dstmrouter.io.records import Memory
    from dstmrouter.io.umem import Addrs, Descs

_BLOCK_STATUS, _BLOCK_PACKETS, _BLOCK_FIRST = (
    field_at(BLOCK, name) for name in ("status", "num_pkts", "offset_to_first_pkt")
)
_NEXT_AT, _SNAPLEN_AT, _LEN_AT, _STATUS_AT, _MAC_AT = (
    field_at(PACKET, name) for name in ("next_offset", "snaplen", "len", "status", "mac")
)
_KERNEL, _USER = U(TP_STATUS_KERNEL), U(TP_STATUS_USER)
_ODD: Final = U(TP_STATUS_VLAN_VALID | TP_STATUS_CSUMNOTREADY)
_HEADROOM: Final = U(XDP_PACKET_HEADROOM)
_DESC_SIZE, _DESC_LEN = U(DESC.itemsize), field_at(DESC, "len")
_AHEAD: Final = U(512)  # octets: the processor does not see by itself where the next packet is


@compiled
def receive(
    ring: npt.NDArray[np.uint64],
    state: npt.NDArray[np.uint64],
    frames: npt.NDArray[np.uint64],
    descs: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Copy packets into `frames` until they are used up, none is there, or one is not plain.

    `ring` is `CompiledBlocks.ring`, `state` that of the `BlockRing`, `descs` where to describe what
    came. Returns how many came, and how many were too long and were dropped.
    """
    base, block_size, blocks, memory, max_len = ring[0], ring[1], ring[2], ring[3], ring[4]
    block, left, at = state[0], state[1], base + state[2]
    taken, too_long = NONE, NONE
    while taken < U(len(frames)):
        start = base + block * block_size
        if left == NONE:
            if observe32(start + _BLOCK_STATUS) & _USER == NONE:
                break
            left = load32(start + _BLOCK_PACKETS)
            at = start + load32(start + _BLOCK_FIRST)
        prefetch(at + _AHEAD)
        if load32(at + _STATUS_AT) & _ODD:
            break
        if load32(at + _LEN_AT) > max_len:
            too_long += ONE
        else:
            frame, length = frames[taken] + _HEADROOM, load32(at + _SNAPLEN_AT)
            copy(memory + frame, at + load16(at + _MAC_AT), length)
            desc = descs + taken * _DESC_SIZE
            store64(desc, frame)
            store64(desc + _DESC_LEN, length)  # and no options
            taken += ONE
        at += load32(at + _NEXT_AT)
        left -= ONE
        if left == NONE:
            publish32(start + _BLOCK_STATUS, _KERNEL)
            block = block + ONE if block + ONE < blocks else NONE
    state[0], state[1], state[2] = block, left, at - base
    return taken, too_long


class CompiledBlocks:
    """Takes the plain packets of a `BlockRing`, which has nothing to release when it is called."""

    def __init__(self, blocks: BlockRing, ring: Memory, memory: Memory, max_len: int) -> None:
        self._blocks = blocks
        self._kept = np.frombuffer(ring, np.uint8), np.frombuffer(memory, np.uint8)
        ring_at, memory_at = map(address, self._kept)
        sizes = (U(blocks.block_size), U(blocks.blocks))
        self._ring = np.array([ring_at, *sizes, memory_at, U(max_len)], np.uint64)
        # Load the code now, on a state of nobody's: the ring may be in use meanwhile.
        receive(self._ring, np.zeros(3, np.uint64), np.empty(0, np.uint64), NONE)

    def receive(self, frames: Addrs) -> tuple[Descs, int]:
        """Fill the first of `frames`, shape (n,); what came, and how many were too long."""
        descs = np.empty(len(frames), DESC)
        taken, too_long = receive(self._ring, self._blocks.state, frames, address(descs))
        return descs[: int(taken)], int(too_long)
