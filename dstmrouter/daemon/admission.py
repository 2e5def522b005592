"""How many peers may be inside at a time, and how often they may ask.

A source is a /64, what one customer's site has: within one, a host has as many addresses as it
likes. The rate is needed because a deployed client that does not understand an answer asks again
2,000 times a second.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.stream_connection import StreamTally
from dstmrouter.leases.quota import first_word
from dstmrouter.leases.rate import Rate, TokenBuckets

if TYPE_CHECKING:
    from ipaddress import IPv6Address

NO_LIMIT: Final = Rate()


class Admission:
    """Room for `total` peers, `per_source` from one /64; each /64 may ask at `rate`."""

    def __init__(self, *, total: int, per_source: int, rate: Rate = NO_LIMIT) -> None:
        self._total = total
        self._per_source = per_source
        self._buckets = TokenBuckets(rate)
        self._inside = 0
        self._inside_of: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._inside

    def may_ask(self, address: IPv6Address, now: float) -> bool:
        """Whether the source has a token left; takes it."""
        return self._buckets.try_take(first_word(address), now)

    def enter(self, address: IPv6Address) -> StreamTally | None:
        """Come in, or why not. Whoever has come in must `leave`."""
        source = first_word(address)
        if self._inside >= self._total:
            return StreamTally.REFUSED_TOTAL
        if self._inside_of[source] >= self._per_source:
            return StreamTally.REFUSED_SOURCE
        self._inside += 1
        self._inside_of[source] += 1
        return None

    def leave(self, address: IPv6Address) -> None:
        """Make room."""
        source = first_word(address)
        self._inside -= 1
        self._inside_of[source] -= 1
        if not self._inside_of[source]:
            del self._inside_of[source]  # a counter for every /64 ever seen would be a leak
