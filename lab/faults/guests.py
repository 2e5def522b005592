"""Hosts that come and go: leases asked for over TSP and given back, whatever fails meanwhile.

They use the client's own TSP code, not the whole program: so what is known is the moment of the
answer, at which every required router must have the binding.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, Self

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
from dstmrouter.daemon.tsp_source import TspSource
from dstmrouter.errors import ControlError
from lab.faults.network import GUESTS6, ROUTERS, SERVER6

if TYPE_CHECKING:
    from dstmrouter.protocols.granted import GrantedLease
    from lab.faults.judge import Bindings, Judge
    from lab.faults.machines import Machines

SERVER: Final = TspAddress("tsp", SERVER6, 3653)
LIFETIME_S: Final = 10
ANSWER_S: Final = 4.0
STAY_S: Final = 1.0
PAUSE_S: Final = 0.3
GIVES_BACK: Final = 0.8  # the others just go


class Guests:
    """Six of them in a thread; a context manager that ends them."""

    def __init__(self, machines: Machines, judge: Judge, seed: int) -> None:
        self._machines = machines
        self._judge = judge
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._machines.network["guests"].entered():
            asyncio.run(self._all())

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for client6 in GUESTS6:
                group.create_task(self._live(IPv6Address(client6)))

    async def _live(self, client6: IPv6Address) -> None:
        while not self._ended.is_set():
            source = TspSource(SERVER, TspAccount())
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._ask(source, client6)
            except (SourceError, TimeoutError):
                self._judge.figures.refusals += 1
            with contextlib.suppress(SourceError):
                await source.close()
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, source: TspSource, client6: IPv6Address) -> None:
        before = self._runs()
        lease = await source.obtain(client6, hint4=None, lifetime_s=LIFETIME_S)
        self._check(lease, before)
        await asyncio.sleep(self._random.random() * STAY_S)
        if self._random.random() < GIVES_BACK:
            await source.release(lease)

    def _runs(self) -> dict[str, int]:
        return {router: self._machines.daemons[router].runs for router in ROUTERS}

    def _check(self, lease: GrantedLease, before: dict[str, int]) -> None:
        """Hand the tables of the routers to the judge; one that just died had its say before."""
        tables: dict[str, Bindings | None] = {}
        for router in ROUTERS:
            daemon = self._machines.daemons[router]
            if daemon.process is None and daemon.runs == before[router]:
                tables[router] = None  # dead all the time
                continue
            with contextlib.suppress(ControlError):
                table = dict(daemon.pairs())
                if daemon.runs == before[router]:
                    tables[router] = table
        self._judge.granted(str(lease.client4), str(lease.client6), tables)

    def finish(self) -> None:
        """End them; harmless when repeated."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
