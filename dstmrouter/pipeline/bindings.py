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

**A shared address** (RFC 7597 section 5.1) has a row of kind SHARED: offset and length of its
PSIDs, and `base`, the number of the slot that PSID 0 has. The slots of its 2^k port sets stand in
sequence from there on, behind those of addresses, and name rows of kind BOUND like any other slot.
A port is looked up by `dstmrouter.pipeline.portsets`; all sets of an address are as long.

`divided` has the same in one word beside the slot of the address (`divisions`), so that compiled
code comes from an address and a port to the slot of the set without the SHARED row. A word is
published after that row, and is 0 before the row goes: a reader finds it or falls back on the row.

Both directions use the IPv4 address as key: the anti-spoofing check of decapsulation looks up the
inner source and compares the row's client6 with the outer source (R12).
"""

from __future__ import annotations

import functools
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.memory import shaped
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
    BOUND = 3  # the whole address is one client's, or a port set of it
    SHARED = 4  # clients have port sets of it (RFC 7597): look at the slots from `base` on

    # Only in copies of rows, where a SHARED one led to no port set: see `portsets`.
    NO_SET = 5  # the port is in no set, or in a set that is nobody's
    NO_PORT = 6  # the packet has nothing that would say whose it is
    DAMAGED = 7  # an ICMP message whose checksums, or those of what it quotes, are wrong
    PIECE = 8  # an IPv4 fragment, whose port is another matter: see `shared_pieces`


ROW_SIZE: Final = 32  # two rows a cache line
ROW: Final = np.dtype(
    {
        "names": [
            "client6",  # wire words
            "client6_octets",  # the same, for copying
            "base",  # in place of them, of what is SHARED: slot of PSID 0
            "ipv4",
            "expires",  # of what is BOUND: seconds since the router started; else 0
            "hop",  # next hop towards the client
            "tep",  # which tep6 of the router
            "psid_offset",
            "psid_len",
            "kind",  # RowKind
            "alike",  # the last five as one word: of most rows that are in use it is the same
        ],
        "formats": [("<u8", (2,)), "V16", *["<u4"] * 4, *["u1"] * 4, "<u8"],
        "offsets": [0, 0, 0, 16, 20, 24, 28, 29, 30, 31, 24],
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
DIVISION_BITS: Final = 28  # of a word of `divided`: a set slot, and a mark; above them the offset
SET_SLOTS_MAX: Final = 1 << DIVISION_BITS


class BindingTable:
    """Views over one shared buffer; every process makes its own over the same memory."""

    def __init__(self, buffer: Octets, blocks: int, rows: int, set_slots: int = 0) -> None:
        assert set_slots <= SET_SLOTS_MAX
        sizes = self.sizes(blocks, rows, set_slots)
        at = np.cumsum([0, *sizes])
        self.directory: npt.NDArray[np.uint32]
        self.directory = np.ndarray(DIRECTORY_ENTRIES, np.uint32, buffer, int(at[0]))
        self.slots: npt.NDArray[np.uint32]
        self.slots = np.ndarray(blocks * BLOCK + set_slots, np.uint32, buffer, int(at[1]))
        self.first_set_slot = blocks * BLOCK
        self.rows: npt.NDArray[np.void] = np.ndarray(rows, ROW, buffer, int(at[2]))
        self.shared: npt.NDArray[np.uint32]  # how many addresses are, shape (1,)
        self.shared = np.ndarray(1, np.uint32, buffer, int(at[4]))
        self.divided: npt.NDArray[np.uint32]  # by the slot of an address; 0: it is not shared
        self.divided = np.ndarray(self.first_set_slot, np.uint32, buffer, int(at[3]))
        self._opaque_rows = self.rows.view(f"V{ROW_SIZE}")

    @staticmethod
    def sizes(blocks: int, rows: int, set_slots: int = 0) -> tuple[int, int, int, int, int]:
        """Octets of directory, slots (of addresses and port sets), rows, `divided`, `shared`."""
        slots = -(-(blocks * BLOCK + set_slots) // 8) * 8  # rows hold 64-bit words
        return DIRECTORY_ENTRIES * 4, slots * 4, rows * ROW_SIZE, blocks * BLOCK * 4, 4

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
        return self.numbered(self.slots.take(slots))

    def numbered(self, numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.void]:
        """Copy the rows of these numbers; shape (n,), dtype ROW."""
        return shaped(self._opaque_rows.take(numbers), ROW)

    def psids(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Which PSID each of `slots` stands for, shape (n,); 0 for the slots of addresses."""
        shared = self.look_up(self.rows_of(slots)["ipv4"])
        of_set = (slots >= self.first_set_slot) & (shared["kind"] == RowKind.SHARED)
        return np.where(of_set, slots - shared["base"], 0).astype(np.uint32)

    def divisions(self, rows: npt.NDArray[np.void]) -> npt.NDArray[np.uint32]:
        """The words of `divided` for SHARED rows, shape (n,).

        Such a word is `offset << DIVISION_BITS | first | 1 << length - 1`, where `first` counts
        from the first set slot. Blocks are aligned to their size, so that the lowest bit set is the
        mark that tells the length.
        """
        offset, length = (rows[name].astype(np.uint32) for name in ("psid_offset", "psid_len"))
        first = rows["base"] - np.uint32(self.first_set_slot)
        words: npt.NDArray[np.uint32]
        words = offset << np.uint32(DIVISION_BITS) | first | np.uint32(1) << length - np.uint32(1)
        return words


def over(rows: npt.NDArray[np.void], now_s: int) -> npt.NDArray[np.bool_]:
    """Which rows, dtype ROW, name nobody at `now_s`: expired, or of a kind that is never BOUND."""
    expires: npt.NDArray[np.uint32] = rows["expires"]
    return expires <= _clock(now_s)


@functools.lru_cache(maxsize=1)
def _clock(now_s: int) -> npt.NDArray[np.uint32]:
    """Seconds as an array of shape (); making it takes as long as comparing 1,024 with it."""
    return constant(now_s, np.uint32)


def covered_blocks(pools: Sequence[IPv4Network], tep4: int | None) -> list[int]:
    """The /24 blocks that pools and tep4 touch, as upper 24 bits, ascending."""
    blocks = {tep4 >> 8} if tep4 is not None else set()
    for pool in pools:
        blocks.update(range(int(pool.network_address) >> 8, (int(pool.broadcast_address) >> 8) + 1))
    return sorted(blocks)
