"""What every act of the demo plays with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.demo_checks import Checks
    from lab.demo_screen import Screen
    from lab.demo_stage import Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """Screen, stage and checks of one demo."""

    screen: Screen
    stage: Stage
    checks: Checks

    def bound(self) -> dict[str, str]:
        """IPv4 address and IPv6 address of every binding in the router."""
        rows = self.stage.ask("router", "bindings")["bindings"]
        return {row["ipv4"]: row["client6"] for row in rows}

    def leased(self) -> dict[str, str]:
        """IPv4 address and IPv6 address of every lease that the server has lent."""
        rows = self.stage.ask("server", "leases")["leases"]
        return {row["ipv4"]: row["client6"] for row in rows if row["state"] == "active"}
