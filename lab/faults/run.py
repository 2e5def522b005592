"""A run: everything is started, fails again and again, and is judged."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from lab.faults.guests import Guests
from lab.faults.judge import Judge, Pause
from lab.faults.machines import Machines
from lab.faults.network import CLIENTS, ROUTERS, client6
from lab.faults.plan import faults
from lab.faults.traffic import Traffic
from lab.faults.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.faults.plan import Fault

GRANTS_BETWEEN: Final = 8
ON_ITS_WAY_S: Final = 0.3  # of an echo that had not come back when a router died


class Run:
    """`count` faults by `seed`; `tell` is given a line for each."""

    def __init__(self, count: int, seed: int, tell: Callable[[str], None]) -> None:
        self._count = count
        self._seed = seed
        self._tell = tell

    def play(self) -> Judge:
        """Play it; LabError if something does not come back. The judge knows how it went."""
        with Machines() as machines:
            machines.start()
            addresses = {client: machines.held(client) or "" for client in CLIENTS}
            judge = Judge({client6(client): address for client, address in addresses.items()})
            with Traffic(machines.network, addresses) as traffic:
                pauses = self._warmed_up(machines, traffic)
                with Watch(machines, judge), Guests(machines, judge, self._seed) as guests:
                    for number, fault in enumerate(faults(self._count, self._seed), start=1):
                        took = self._play_fault(fault, machines, traffic, pauses)
                        self._until_served(machines, judge)
                        self._tell(f"{number:3}. {fault}: all well {took:.1f} s after")
                        judge.figures.faults = number
                    guests.finish()
                traffic.finish()
                judge.lost(traffic.lost(), pauses)
                judge.figures.echoes = traffic.sent()
            judge.figures.renewals = machines.renewals()
        return judge

    def _warmed_up(self, machines: Machines, traffic: Traffic) -> dict[str, list[Pause]]:
        """Wait until neighbours know each other: what is lost until then is no fault's."""
        pauses = {router: [Pause(time.monotonic() - ON_ITS_WAY_S)] for router in ROUTERS}
        for router, (pause,) in pauses.items():
            machines.wait(
                partial(traffic.passes_since, time.monotonic(), router), f"echoes through {router}"
            )
            pause.end = time.monotonic()
        return pauses

    def _play_fault(
        self, fault: Fault, machines: Machines, traffic: Traffic, pauses: dict[str, list[Pause]]
    ) -> float:
        """Make a fault and undo it; returns how long it took until all was well again."""
        with self._paused(fault, pauses):
            machines.network.pull(*fault.cables())
            for name in fault.killed():
                machines.daemons[name].kill()
            time.sleep(fault.seconds)
            undone = time.monotonic()
            machines.network.plug(*fault.cables())
            for name in fault.killed():
                machines.daemons[name].start()
            machines.wait(machines.settled, f"routers that follow the server after: {fault}")
            settled = time.monotonic()
            machines.wait(
                lambda: all(traffic.passes_since(settled, router) for router in ROUTERS),
                f"echoes after: {fault}",
            )
        machines.wait(
            lambda: all(machines.bound(client) for client in CLIENTS), f"clients after: {fault}"
        )
        return time.monotonic() - undone

    def _until_served(self, machines: Machines, judge: Judge) -> None:
        """Let some guests have leases before the next fault."""
        enough = judge.figures.grants + GRANTS_BETWEEN
        machines.wait(lambda: judge.figures.grants >= enough, "leases for guests")

    @contextlib.contextmanager
    def _paused(self, fault: Fault, pauses: dict[str, list[Pause]]) -> Iterator[None]:
        """Note when a router could not forward."""
        if not fault.stops_forwarding():
            yield
            return
        pause = Pause(time.monotonic() - ON_ITS_WAY_S)
        pauses[fault.router].append(pause)
        yield
        pause.end = time.monotonic()
