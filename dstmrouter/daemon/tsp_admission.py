"""How much a source may ask of the TSP server.

A source is a /64: within one, a host has as many addresses as it likes. Two limits: sessions at a
time, and requests per second (a token bucket), because a deployed client that does not understand
an answer asks again 2,000 times a second.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv6Address

SOURCES_LIMIT: Final = 65_536
"""Buckets kept. Whoever has that many prefixes is not stopped by forgetting none of them."""


class Admission:
    """Sessions and rates of all sources."""

    def __init__(
        self, *, sessions: int, sessions_per_64: int, requests_per_s: float, burst: int
    ) -> None:
        self._limit = sessions
        self._limit_per_source = sessions_per_64
        self._per_s = requests_per_s
        self._burst = float(burst)
        self._inside: Counter[int] = Counter()
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()  # tokens, since when

    @property
    def sessions(self) -> int:
        """Sessions at the moment."""
        return self._inside.total()

    def may_ask(self, address: IPv6Address, now: float) -> bool:
        """Take one token of the source's bucket; False when it is empty."""
        source = _source(address)
        tokens, since = self._buckets.pop(source, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_s)
        allowed = tokens >= 1
        self._buckets[source] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > SOURCES_LIMIT:
            self._buckets.popitem(last=False)  # the one that has been silent for longest
        return allowed

    def enter(self, address: IPv6Address) -> bool:
        """Begin a session; False when there are too many. Each one begun must `leave`."""
        source = _source(address)
        if self.sessions >= self._limit or self._inside[source] >= self._limit_per_source:
            return False
        self._inside[source] += 1
        return True

    def leave(self, address: IPv6Address) -> None:
        """End a session."""
        source = _source(address)
        self._inside[source] -= 1
        if not self._inside[source]:
            del self._inside[source]


def _source(address: IPv6Address) -> int:
    return int(address) >> 64
