"""Which faults, in which order, and how each is done and undone."""

from __future__ import annotations

import enum
import random
from typing import TYPE_CHECKING, Final, NamedTuple

from lab.faults.network import ROUTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_S: Final = 0.5
LONGEST_S: Final = 3.0  # longer than a request's time, so that some are refused
SERVER: Final = "server"


class Kind(enum.Enum):
    """What happens."""

    SERVER_CUT = "cables of the server pulled"
    ROUTER_CUT = "cables of {} pulled"
    ROUTER_ALONE = "cable from {} to the server pulled"
    SERVER_KILLED = "server killed"
    ROUTER_KILLED = "{} killed"
    BOTH_KILLED = "server and {} killed"


class Fault(NamedTuple):
    """One fault: for how long, and with two daemons, which of them comes back first."""

    kind: Kind
    router: str
    seconds: float
    router_first: bool

    def __str__(self) -> str:
        first = (self.router if self.router_first else SERVER) + " is back first"
        what = self.kind.value.format(self.router) + f" for {self.seconds:.1f} s"
        return f"{what}, {first}" if self.kind is Kind.BOTH_KILLED else what

    def cables(self) -> tuple[str, ...]:
        """The cables that are pulled."""
        return {
            Kind.SERVER_CUT: ("server-lan", "server-mgmt"),
            Kind.ROUTER_CUT: (f"{self.router}-lan", f"{self.router}-mgmt"),
            Kind.ROUTER_ALONE: (f"{self.router}-mgmt",),
        }.get(self.kind, ())

    def killed(self) -> tuple[str, ...]:
        """The daemons that are killed, in the order in which they come back."""
        both = (self.router, SERVER) if self.router_first else (SERVER, self.router)
        return {
            Kind.SERVER_KILLED: (SERVER,),
            Kind.ROUTER_KILLED: (self.router,),
            Kind.BOTH_KILLED: both,
        }.get(self.kind, ())

    def stops_forwarding(self) -> bool:
        """Whether the router cannot forward for its clients meanwhile."""
        return self.kind in {Kind.ROUTER_CUT, Kind.ROUTER_KILLED, Kind.BOTH_KILLED}


def faults(count: int, seed: int) -> Iterator[Fault]:
    """`count` faults by chance; every kind comes once before one comes again."""
    chance = random.Random(seed)
    waiting: list[Kind] = []
    for _ in range(count):
        waiting = waiting or chance.sample(list(Kind), len(Kind))
        yield Fault(
            waiting.pop(),
            chance.choice(ROUTERS),
            chance.uniform(SHORTEST_S, LONGEST_S),
            router_first=chance.random() < 0.5,
        )
