"""How much a source may ask of the TSP server.

A source is a /64: within one, a host has as many addresses as it likes. Two limits: sessions at a
time, and requests per second, because a deployed client that does not understand
an answer asks again 2,000 times a second.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv6Address

SOURCES_LIMIT: Final = 65_536
"""Budgets kept. Whoever has that many prefixes is not stopped by forgetting none of them."""


class Budget:
    """So many per second, after a burst: a token bucket."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._since: float | None = None

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        if self._since is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self._per_s)
        self._since = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


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
        self._budgets: OrderedDict[int, Budget] = OrderedDict()

    @property
    def sessions(self) -> int:
        """Sessions at the moment."""
        return self._inside.total()

    def may_ask(self, address: IPv6Address, now: float) -> bool:
        """Whether the source's budget has something left; takes it."""
        source = _source(address)
        budget = self._budgets.pop(source, None) or Budget(self._per_s, self._burst)
        self._budgets[source] = budget
        if len(self._budgets) > SOURCES_LIMIT:
            self._budgets.popitem(last=False)  # the one that has been silent for longest
        return budget.take(now)

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
