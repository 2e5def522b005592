"""The binding table as workers read it: IPv4 address -> slot -> row, shared, without locks.

`directory` has an entry for every /24 of IPv4 and tells where its 256 slots begin (as in DPDK's
DIR-24-8); a slot holds the number of a row; a row holds the client. Entry 0 of the directory means
"no pool here": block 0 of the slots is all zero, and row 0 says NOT_POOL. So a look-up is three
gathers for any address, and its cost depends on caches only.

**A row is immutable while a slot names it**, save two of its words, `hop` and `expires`, each
changed by one aligned 32-bit store. A change of a binding writes a fresh row and publishes it by
one aligned 32-bit store into the slot. The old row is used again only after every worker has passed
a quiescent point (`dstmrouter.pipeline.quiescence`). A gather of a whole burst therefore never sees
half a binding. The writer is `dstmrouter.pipeline.binding_writer`.

Both directions use the IPv4 address as key: the anti-spoofing check of decapsulation looks up the
inner source and compares the row's client6 with the outer source (R12).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network

    from dstmrouter.pipeline.memory import Octets


class RowKind(IntEnum):
    """What a row says about the address whose slot names it."""

    NOT_POOL = 0  # the address is in none of our pools
    UNBOUND = 1  # in a pool, and nobody's
    LOCAL = 2  # tep4: ours, whether in a pool or not
    BOUND = 3  # the whole address is one client's
    SHARED = 4  # port sets of it are (RFC 7597): not forwarded yet


ROW_SIZE: Final = 32  # two rows a cache line
ROW: Final = np.dtype(
    {
        "names": [
            "client6",  # wire words
            "client6_octets",  # the same, for copying
            "ipv4",
            "expires",  # of what is BOUND: seconds since the router started; else 0
            "hop",  # next hop towards the client
            "tep",  # which tep6 of the router
            "psid_offset",
            "psid_len",
            "kind",  # RowKind
        ],
        "formats": [("<u8", (2,)), "V16", "<u4", "<u4", "<u4", "u1", "u1", "u1", "u1"],
        "offsets": [0, 0, 16, 20, 24, 28, 29, 30, 31],
        "itemsize": ROW_SIZE,
    }
)
assert ROW.itemsize == ROW_SIZE

FIXED_ROWS: Final = 3  # one each for NOT_POOL, UNBOUND and LOCAL, at the number of their kind
FOREVER: Final = 0xFFFFFFFF
BLOCK: Final = 256  # slots of a /24
DIRECTORY_ENTRIES: Final = 1 << 24
_BLOCK_SHIFT: Final = constant(8, np.uint32)
_BLOCK_MASK: Final = constant(BLOCK - 1, np.uint32)


class BindingTable:
    """Views over one shared buffer; every process makes its own over the same memory."""

    def __init__(self, buffer: Octets, blocks: int, rows: int) -> None:
        sizes = self.sizes(blocks, rows)
        at = np.cumsum([0, *sizes])
        self.directory: npt.NDArray[np.uint32]
        self.directory = np.ndarray(DIRECTORY_ENTRIES, np.uint32, buffer, int(at[0]))
        self.slots: npt.NDArray[np.uint32]
        self.slots = np.ndarray(blocks * BLOCK, np.uint32, buffer, int(at[1]))
        self.rows: npt.NDArray[np.void] = np.ndarray(rows, ROW, buffer, int(at[2]))
        self._opaque_rows = self.rows.view(f"V{ROW_SIZE}")

    @staticmethod
    def sizes(blocks: int, rows: int) -> tuple[int, int, int]:
        """Octets of directory, slots and rows."""
        return DIRECTORY_ENTRIES * 4, blocks * BLOCK * 4, rows * ROW_SIZE

    def lay_out(self, pools: Sequence[IPv4Network], tep4: int | None) -> None:
        """Make every pool address UNBOUND and tep4 LOCAL, in zeroed memory.

        Once, before workers start.
        """
        for kind in (RowKind.NOT_POOL, RowKind.UNBOUND, RowKind.LOCAL):
            self.rows["kind"][kind] = kind
        for block, prefix24 in enumerate(covered_blocks(pools, tep4), start=1):
            self.directory[prefix24] = block * BLOCK
        for pool in pools:
            first = int(pool.network_address)
            addresses = np.arange(first, first + pool.num_addresses, dtype=np.uint32)
            self.slots[self.slot_of(addresses)] = RowKind.UNBOUND
        if tep4 is not None:
            self.slots[self.slot_of(np.array([tep4], np.uint32))] = RowKind.LOCAL

    def slot_of(self, ipv4: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Slot numbers of addresses, shape (n,); a slot of block 0 for what is in no pool."""
        slots: npt.NDArray[np.uint32] = self.directory.take(ipv4 >> _BLOCK_SHIFT)
        slots += ipv4 & _BLOCK_MASK
        return slots

    def outside(self, ipv4: npt.NDArray[np.uint32]) -> bool:
        """Whether none of the addresses is in a /24 that we have anything to do with."""
        return not np.count_nonzero(self.directory.take(ipv4 >> _BLOCK_SHIFT))

    def look_up(self, ipv4: npt.NDArray[np.uint32]) -> npt.NDArray[np.void]:
        """Copy the rows of addresses; shape (n,), dtype ROW. Never fails: see RowKind."""
        return self.rows_of(self.slot_of(ipv4))

    def rows_of(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.void]:
        """Copy the rows that slots name; shape (n,), dtype ROW."""
        return self._opaque_rows.take(self.slots.take(slots)).view(ROW)


def covered_blocks(pools: Sequence[IPv4Network], tep4: int | None) -> list[int]:
    """The /24 blocks that pools and tep4 touch, as upper 24 bits, ascending."""
    blocks = {tep4 >> 8} if tep4 is not None else set()
    for pool in pools:
        blocks.update(range(int(pool.network_address) >> 8, (int(pool.broadcast_address) >> 8) + 1))
    return sorted(blocks)
