"""What the TSP server counts, by name, with help texts: one table for status and documents."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any

from dstmrouter.protocols.tsp_state import Ending

if TYPE_CHECKING:
    from collections.abc import Mapping


class Count(Enum):
    """What happens besides the endings of dialogues; the value is the help text."""

    CONNECTIONS = "connections accepted, with and without TLS"
    UDP_DIALOGUES = "dialogues over UDP whose client has authenticated"
    OFFERS = "addresses offered or extended"
    GRANTS = "offers that the client accepted"
    REJECTS = "offers that the client rejected"
    ROLLED_BACK = "offers taken back because the dialogue ended first"
    RELEASES = "leases given back"
    REFUSALS = "requests refused by the rules of leases"
    DROPPED_RATE = "connections, datagrams and requests not served: source asks too often"
    DROPPED_FULL = "connections and dialogues refused: too many sessions"
    DROPPED_TLS = "connections whose TLS handshake failed"
    MALFORMED_DATAGRAMS = "datagrams without a TSP header"
    REPEATED_DATAGRAMS = "datagrams that came again"
    STRANGERS = "requests over UDP from clients that have not authenticated"
    CUT_ANSWERS = "answers left empty: too large for a datagram, or for an unproved address"


HELP: Mapping[str, str] = {
    item.name.lower(): item.value for kind in (Count, Ending) for item in kind
}
"""Every counter, in the order in which it is shown."""


class TspCounters:
    """Counts since the start of the server."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, what: Count | Ending) -> None:
        """Count one of `what`."""
        self._counts[what.name.lower()] += 1

    def __getitem__(self, what: Count | Ending) -> int:
        return self._counts[what.name.lower()]

    def rows(self) -> list[dict[str, Any]]:
        """Every counter with its help text."""
        return [
            {"name": name, "count": self._counts[name], "help": text} for name, text in HELP.items()
        ]
