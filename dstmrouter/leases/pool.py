"""Pools of IPv4 addresses, and slots: the dense numbering that every lease column uses.

A slot names one address of one pool; slots count up through the pools in their order, and through
each pool by address. Nothing is stored per address but its number: a /8 costs arithmetic, not
sixteen million objects. In a pool whose addresses are shared (RFC 7597 section 5.1), a slot names
an address and a port set; the sets of an address follow each other. Only this file knows what lies
behind a slot.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from ipaddress import IPv4Address
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.errors import ConfigError
from dstmrouter.leases.selector import ANYBODY, Selector
from dstmrouter.leases.sharing import WHOLE, Sharing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dstmrouter.protocols.granted import PortSet


class PortSets(NamedTuple):
    """Port sets as columns of one length, RFC 7597 section 5.1; `psid_len` 0: whole addresses."""

    psid_offset: npt.NDArray[np.uint8]
    psid_len: npt.NDArray[np.uint8]
    psid: npt.NDArray[np.uint16]


def whole_addresses(n: int) -> PortSets:
    """The columns of `n` leases without port sets."""
    zeros = np.zeros(n, np.uint8)
    return PortSets(zeros, zeros, np.zeros(n, np.uint16))


Block: TypeAlias = tuple[IPv4Address, IPv4Address]
"""Addresses from the first to the last, both included."""
Slots: TypeAlias = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Pool:
    """Addresses that are lent: disjoint blocks as (first, last) integers, in ascending order.

    They are for clients that `selector` fits. When no more than the share `reserve` (0 to 1) of
    them is free, they are for clients that are known: who authenticated, or held a lease before.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]
    selector: Selector = ANYBODY
    reserve: float = 0.0
    sharing: Sharing = WHOLE

    @classmethod
    def of(
        cls,
        name: str,
        blocks: Iterable[Block],
        exclude: Iterable[Block] = (),
        *,
        selector: Selector = ANYBODY,
        reserve: float = 0.0,
        sharing: Sharing = WHOLE,
    ) -> Pool:
        """Join `blocks` and cut `exclude` out; nothing left or an overlap is a `ConfigError`."""
        kept = sorted((int(first), int(last)) for first, last in blocks)
        for (_, last), (first, _) in pairwise(kept):
            if first <= last:
                raise ConfigError(f"pool {name}: {IPv4Address(first)} is in it twice")
        for hole in exclude:
            kept = _without(kept, int(hole[0]), int(hole[1]))
        if not kept:
            raise ConfigError(f"pool {name}: no address is left")
        return cls(name, tuple(kept), selector, reserve, sharing)

    @property
    def addresses(self) -> int:
        """How many addresses there are."""
        return sum(last - first + 1 for first, last in self.blocks)

    def __len__(self) -> int:
        """How many leases there can be: addresses or port sets."""
        return self.addresses * self.sharing.sets


def _without(blocks: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    pieces = []
    for low, high in blocks:
        pieces += [(low, min(high, first - 1)), (max(low, last + 1), high)]
    return sorted({(low, high) for low, high in pieces if low <= high})


class AddressSpace:
    """The addresses and port sets of several pools and their slots, from 0 to `capacity` - 1."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self.pools = tuple(pools)
        self.shared = any(pool.sharing.psid_len for pool in self.pools)
        """Whether any slot is a port set."""
        blocks = [(first, last, pool) for pool in self.pools for first, last in pool.blocks]
        sizes = [(last - first + 1) * pool.sharing.sets for first, last, pool in blocks]
        bases = np.cumsum([0, *sizes])
        self.capacity = int(bases[-1])
        ends = np.cumsum([0, *(len(pool) for pool in self.pools)]).tolist()
        self.bounds: tuple[range, ...] = tuple(map(range, ends, ends[1:]))
        """The slots of each pool."""
        self._starts = [bound.start for bound in self.bounds]
        self.ipv4: npt.NDArray[np.uint32] = np.concatenate([_addresses(*block) for block in blocks])
        """The address of each slot, shape (capacity,), native byte order."""
        self.psid: npt.NDArray[np.uint16] = _psids(blocks, self.capacity, shared=self.shared)
        """The PSID of each slot, shape (capacity,); 0 for whole addresses."""
        by_address = sorted(range(len(blocks)), key=lambda b: blocks[b][:2])
        for lower, upper in pairwise(by_address):
            _refuse_overlap(blocks[lower], blocks[upper])
        self._firsts = [blocks[b][0] for b in by_address]
        self._lasts = [blocks[b][1] for b in by_address]
        self._bases = [int(bases[b]) for b in by_address]
        self._sharings = [blocks[b][2].sharing for b in by_address]

    def slot(self, address: IPv4Address, psid: int = 0) -> int | None:
        """The slot of `address`, or of its port set `psid`; None when no pool has it."""
        block = self._block(address)
        if block is None:
            return None
        sharing = self._sharings[block]
        offset = psid - sharing.first_psid
        if not 0 <= offset < sharing.sets:
            return None
        return self._bases[block] + (int(address) - self._firsts[block]) * sharing.sets + offset

    def slots_of(self, address: IPv4Address) -> range:
        """The slots of all port sets of `address`; empty when no pool has it."""
        block = self._block(address)
        if block is None:
            return range(0)
        sets = self._sharings[block].sets
        first = self._bases[block] + (int(address) - self._firsts[block]) * sets
        return range(first, first + sets)

    def _block(self, address: IPv4Address) -> int | None:
        block = bisect_right(self._firsts, int(address)) - 1
        return block if block >= 0 and int(address) <= self._lasts[block] else None

    def slots(self, addresses: npt.NDArray[np.uint32], port_sets: PortSets) -> Slots:
        """The slots of columns of addresses and port sets; -1 where no pool lends them so."""
        firsts = np.array(self._firsts, np.int64)
        block = np.searchsorted(firsts, addresses, "right") - 1
        sharings = [
            (each.psid_offset, each.psid_len, each.first_psid, each.sets) for each in self._sharings
        ]
        offset, length, first_psid, sets = np.array(sharings, np.int64).T[:, block]
        lent = (block >= 0) & (addresses <= np.array(self._lasts, np.int64)[block])
        lent &= (offset == port_sets.psid_offset) & (length == port_sets.psid_len)
        place = port_sets.psid - first_psid
        lent &= (place >= 0) & (place < sets)
        slots = np.array(self._bases, np.int64)[block] + (addresses - firsts[block]) * sets + place
        return np.where(lent, slots, np.int64(-1))

    def address(self, slot: int) -> IPv4Address:
        """The address behind `slot`."""
        return IPv4Address(int(self.ipv4[slot]))

    def port_set(self, slot: int) -> PortSet | None:
        """The port set behind `slot`; None: the whole address."""
        if not self.shared:
            return None
        return self.pools[self.pool_index(slot)].sharing.port_set(int(self.psid[slot]))

    def port_sets(self, slots: Slots) -> PortSets:
        """The port sets behind `slots` as columns."""
        pools = np.searchsorted(self._starts, slots, "right") - 1
        kinds = np.array([dataclasses.astuple(pool.sharing) for pool in self.pools], np.uint8)
        return PortSets(kinds[pools, 0], kinds[pools, 1], self.psid[slots])

    def pool_index(self, slot: int) -> int:
        """The place of the slot's pool in `pools`."""
        return bisect_right(self._starts, slot) - 1


def _addresses(first: int, last: int, pool: Pool) -> npt.NDArray[np.uint32]:
    addresses = np.arange(first, last + 1, dtype=np.uint32)
    return addresses if pool.sharing.sets == 1 else np.repeat(addresses, pool.sharing.sets)


def _psids(
    blocks: Sequence[tuple[int, int, Pool]], capacity: int, *, shared: bool
) -> npt.NDArray[np.uint16]:
    if not shared:
        return np.broadcast_to(np.uint16(0), capacity)  # takes no memory
    parts = []
    for first, last, pool in blocks:
        first_psid, sets = pool.sharing.first_psid, pool.sharing.sets
        parts.append(
            np.tile(np.arange(first_psid, first_psid + sets, dtype=np.uint16), last - first + 1)
        )
    return np.concatenate(parts)


def _refuse_overlap(lower: tuple[int, int, Pool], upper: tuple[int, int, Pool]) -> None:
    if upper[0] <= lower[1]:
        names = f"pools {lower[2].name} and {upper[2].name}"
        raise ConfigError(f"{names} overlap at {IPv4Address(upper[0])}")
