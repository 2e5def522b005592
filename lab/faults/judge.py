"""What must hold whatever fails; and the figures."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Lasting clients send every 20 ms: what stops forwarding costs several echoes in a row, while an
# overloaded machine may lose one anywhere on its way.
IN_A_ROW_S: Final = 0.05
Bindings: TypeAlias = "Mapping[str, str]"  # IPv4 address: client6


@dataclasses.dataclass(slots=True)
class Figures:
    """Counted over a run; everything below `looks` must be 0."""

    faults: int = 0
    grants: int = 0
    refusals: int = 0
    renewals: int = 0
    echoes: int = 0
    excused: int = 0
    echoes_lost: int = 0
    looks: int = 0
    duplicates: int = 0
    early_grants: int = 0
    leases_lost: int = 0
    stops: int = 0

    def wrong(self) -> int:
        """How much was not as it must be."""
        return self.duplicates + self.early_grants + self.leases_lost + self.stops


class Judge:
    """Is shown what happens, and notes what must not.

    `leases` are those that must last: client6 and address of each.
    """

    def __init__(self, leases: Bindings) -> None:
        self.figures = Figures()
        self.problems: list[str] = []
        self._leases = dict(leases)

    def look(
        self, tables: Mapping[str, Iterable[tuple[str, str]]], held: Mapping[str, str | None]
    ) -> None:
        """Judge one moment.

        `tables` are the (address, client6) pairs of every router and server that could be asked,
        `held` the address that each lasting client has, by its client6.
        """
        self.figures.looks += 1
        holders: dict[str, dict[str, str]] = {}
        for machine, table in tables.items():
            for ipv4, client6 in table:
                others = holders.setdefault(ipv4, {})
                others.setdefault(client6, machine)
                if len(others) > 1:
                    self.figures.duplicates += 1
                    self.problems.append(f"{ipv4} has several holders: {others}")
        for client6, address in held.items():
            if self._leases[client6] != address:
                self.figures.leases_lost += 1
                self.problems.append(f"{client6} has {address}, not {self._leases[client6]}")

    def granted(self, ipv4: str, client6: str, tables: Mapping[str, Bindings | None]) -> None:
        """A client was just answered; `tables` of the required routers, None: never followed."""
        self.figures.grants += 1
        for router, table in tables.items():
            if table is None or table.get(ipv4) != client6:
                self.figures.early_grants += 1
                self.problems.append(f"{client6} was granted {ipv4}, which {router} has not")

    def lost(self, echoes: Iterable[tuple[str, float]], excuses: Mapping[str, list[Pause]]) -> None:
        """Judge echoes that did not come back: router and time of sending of each, by client.

        Forwarding stopped if two in a row are lost while their router was well.
        """
        last = ("", 0.0)
        for router, sent_at in echoes:
            if any(pause.begin <= sent_at <= pause.end for pause in excuses[router]):
                self.figures.excused += 1
            else:
                self.figures.echoes_lost += 1
                if last[0] == router and 0 <= sent_at - last[1] <= IN_A_ROW_S:
                    self.figures.stops += 1
                    self.problems.append(f"{router} stopped forwarding at {last[1]:.2f} s")
                last = router, sent_at


@dataclasses.dataclass(slots=True)
class Pause:
    """When nothing could be forwarded by a router."""

    begin: float
    end: float = float("inf")
