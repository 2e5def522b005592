"""Quotas: how many leases one identity, one /64 and one /48 may hold at the same time.

An access network gives each site a /64 or a /48, and a host can take any address in it, so limits
per client6 alone would not keep one site from taking a whole pool (RFC 7618 section 10).

`Holdings` counts beside the lease table what is limited and nothing else: a check is a look-up in a
dict per limit, however many leases there are.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from dstmrouter.errors import LeaseError
from dstmrouter.leases.state import BOUND

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from dstmrouter.leases.lease import Lease
    from dstmrouter.leases.table import LeaseTable

T = TypeVar("T", str, int)

MASK_48: Final = (1 << 48) - 1  # of the first little-endian word: the first 6 octets


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Leases and offers in force at the same time; 0 is no limit. Nobody has no identity quota."""

    per_identity: int = 0
    per_64: int = 0
    per_48: int = 0


NO_LIMITS: Final = Quotas()


class Holdings:
    """Leases and offers in force by identity, /64 and /48, where `quotas` limit them."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._identities: Counter[str] = Counter()
        self._prefixes: tuple[tuple[str, int, int, Counter[int]], ...] = tuple(
            (name, limit, mask, Counter())
            for name, limit, mask in (("64", quotas.per_64, -1), ("48", quotas.per_48, MASK_48))
            if limit
        )
        self.counting = quotas != NO_LIMITS
        """Whether anything is limited."""

    def load(self, table: LeaseTable) -> None:
        """Count what is in `table`, and forget what was counted before."""
        slots = table.in_states(BOUND)
        self._identities = Counter()
        if self.quotas.per_identity:
            self._identities.update(filter(None, table.identities(slots)))
        words = table.client6[slots, 0]
        for _, _, mask, counts in self._prefixes:
            prefixes, many = np.unique(words & np.uint64(mask % (1 << 64)), return_counts=True)
            counts.clear()
            counts.update(dict(zip(prefixes.tolist(), many.tolist(), strict=True)))

    def change(self, old: Lease, new: Lease) -> None:
        """Count `new` instead of `old`, which had the same address before."""
        if old.bound:
            self._add(old, -1)
        if new.bound:
            self._add(new, 1)

    def check(self, client6: IPv6Address, identity: str, old: Lease) -> None:
        """Refuse a lease to a client that would exceed a quota; `old` is what it replaces."""
        if not self.counting:
            return
        limit = self.quotas.per_identity
        same = old.bound and old.identity == identity
        if limit and identity and not same and self._identities[identity] >= limit:
            raise LeaseError("quota-identity", f"{identity} has {limit} leases, which is the limit")
        word, old_word = first_word(client6), first_word(old.client6)
        for name, limit, mask, counts in self._prefixes:
            same = old.bound and word & mask == old_word & mask
            if not same and counts[word & mask] >= limit:
                text = f"the /{name} of {client6} has {limit} leases, which is the limit"
                raise LeaseError(f"quota-{name}", text)

    def counted(self) -> list[dict[str, int] | dict[int, int]]:
        """All counts, for comparison with a recount."""
        return [dict(self._identities), *(dict(counts) for *_, counts in self._prefixes)]

    def _add(self, lease: Lease, step: int) -> None:
        if self.quotas.per_identity and lease.identity:
            _step(self._identities, lease.identity, step)
        word = first_word(lease.client6)
        for _, _, mask, counts in self._prefixes:
            _step(counts, word & mask, step)


def first_word(client6: IPv6Address) -> int:
    """The first 8 octets as in the table's column: a little-endian integer."""
    return int.from_bytes(client6.packed[:8], "little")


def _step(counts: Counter[T], key: T, step: int) -> None:
    counts[key] += step
    if not counts[key]:
        del counts[key]
