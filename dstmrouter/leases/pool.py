"""Pools of IPv4 addresses, and slots: the dense numbering that every lease column uses.

A slot names one address of one pool; slots count up through the pools in their order, and through
each pool by address. Nothing is stored per address but its number: a /8 costs arithmetic, not
sixteen million objects. When addresses are shared (RFC 7597 section 5.1), a slot will name an
address and a port set; only this file knows what lies behind a slot.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from ipaddress import IPv4Address
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.errors import ConfigError
from dstmrouter.leases.selector import ANYBODY, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

    @classmethod
    def of(
        cls,
        name: str,
        blocks: Iterable[Block],
        exclude: Iterable[Block] = (),
        *,
        selector: Selector = ANYBODY,
        reserve: float = 0.0,
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
        return cls(name, tuple(kept), selector, reserve)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.blocks)


def _without(blocks: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    pieces = []
    for low, high in blocks:
        pieces += [(low, min(high, first - 1)), (max(low, last + 1), high)]
    return sorted({(low, high) for low, high in pieces if low <= high})


class AddressSpace:
    """The addresses of several pools and their slots, from 0 to `capacity` - 1."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self.pools = tuple(pools)
        blocks = [(first, last, pool) for pool in self.pools for first, last in pool.blocks]
        sizes = [last - first + 1 for first, last, _ in blocks]
        bases = np.cumsum([0, *sizes])
        self.capacity = int(bases[-1])
        ends = np.cumsum([0, *(len(pool) for pool in self.pools)]).tolist()
        self.bounds: tuple[range, ...] = tuple(map(range, ends, ends[1:]))
        """The slots of each pool."""
        self.ipv4: npt.NDArray[np.uint32] = np.concatenate(
            [np.arange(first, last + 1, dtype=np.uint32) for first, last, _ in blocks]
        )
        """The address of each slot, shape (capacity,), native byte order."""
        by_address = sorted(range(len(blocks)), key=lambda b: blocks[b][:2])
        for lower, upper in pairwise(by_address):
            _refuse_overlap(blocks[lower], blocks[upper])
        self._firsts = [blocks[b][0] for b in by_address]
        self._sizes = [sizes[b] for b in by_address]
        self._bases = [int(bases[b]) for b in by_address]

    def slot(self, address: IPv4Address) -> int | None:
        """The slot of `address`, or None when no pool has it."""
        block = bisect_right(self._firsts, int(address)) - 1
        if block < 0:
            return None
        offset = int(address) - self._firsts[block]
        return self._bases[block] + offset if offset < self._sizes[block] else None

    def slots(self, addresses: npt.NDArray[np.uint32]) -> Slots:
        """The slots of a column of addresses; -1 where no pool has the address."""
        block = np.searchsorted(np.array(self._firsts, np.int64), addresses, "right") - 1
        offset = addresses - np.array(self._firsts, np.int64)[block]
        inside = (block >= 0) & (offset < np.array(self._sizes, np.int64)[block])
        return np.where(inside, np.array(self._bases, np.int64)[block] + offset, np.int64(-1))

    def address(self, slot: int) -> IPv4Address:
        """The address behind `slot`."""
        return IPv4Address(int(self.ipv4[slot]))

    def pool_index(self, slot: int) -> int:
        """The place of the slot's pool in `pools`."""
        return bisect_right([bound.start for bound in self.bounds], slot) - 1


def _refuse_overlap(lower: tuple[int, int, Pool], upper: tuple[int, int, Pool]) -> None:
    if upper[0] <= lower[1]:
        names = f"pools {lower[2].name} and {upper[2].name}"
        raise ConfigError(f"{names} overlap at {IPv4Address(upper[0])}")
