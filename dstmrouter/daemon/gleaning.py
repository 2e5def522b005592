"""On-link IPv4 destinations without a neighbour entry: workers report them, the kernel is asked.

Whoever scans an on-link prefix makes workers report without end. So the number of addresses that
wait or were asked for a moment ago is bounded, and nobody is asked for twice within a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dstmrouter.io.kernelobjects import NeighbourKey

LIMIT: Final = 1024  # as many as the kernel itself keeps by default (gc_thresh3)
AGAIN_S: Final = 1.0  # the kernel's own interval between two ARP requests


class Gleaning:
    """Neighbours to ask for, in the order in which they were wanted."""

    def __init__(self) -> None:
        self._wanted: dict[NeighbourKey, None] = {}
        self._asked: dict[NeighbourKey, float] = {}  # when; the oldest first
        self.refused = 0  # too many at once

    def want(self, key: NeighbourKey) -> None:
        """Put a neighbour on the list, unless it was asked for a moment ago."""
        if key in self._wanted or key in self._asked:
            return
        if len(self._wanted) + len(self._asked) >= LIMIT:
            self.refused += 1
            return
        self._wanted[key] = None

    def to_ask(self, now: float, limit: int) -> list[NeighbourKey]:
        """Take up to `limit` neighbours from the list, and forget who was asked for long ago."""
        for key in [k for k, asked_at in self._asked.items() if asked_at + AGAIN_S <= now]:
            del self._asked[key]
        keys = list(self._wanted)[:limit]
        for key in keys:
            del self._wanted[key]
            self._asked[key] = now
        return keys

    def forget(self, ifindexes: set[int]) -> None:
        """Allow asking at once on these links, whose neighbours the kernel has forgotten."""
        self._asked = {key: at for key, at in self._asked.items() if key[0] not in ifindexes}
