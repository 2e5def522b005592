"""Two dstm-server processes on one PostgreSQL, and clients that note what they were promised."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import psycopg

from dstmrouter.errors import ControlError
from dstmrouter.zmqctl import AsyncControlClient, RefusedError
from tests.daemon.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

AT_ONCE: Final = 30  # calls at each server
POOL: Final = "10.0.0.0/17"
BOUND: Final = "SELECT ipv4, client6 FROM leases WHERE state IN (1, 2)"


class ServerPair:
    """Servers 0 and 1 of the store at `conninfo`."""

    def __init__(self, conninfo: str, *, feed: str = "", lease: str = "") -> None:
        self.conninfo = conninfo
        self.servers = [
            ServerProcess(postgresql=conninfo, pool=POOL, feed=feed, lease=lease) for _ in range(2)
        ]
        self.controls: dict[int, AsyncControlClient] = {}
        self.promised: dict[str, str] = {}  # ipv4 -> client6
        self.refusals: Counter[str] = Counter()
        self._killed: set[int] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with contextlib.ExitStack() as undo:
            undo.callback(self._close)
            for server in self.servers:
                undo.enter_context(server)
            for which in (0, 1):
                await self.start(which)
            yield

    async def start(self, which: int) -> AsyncControlClient:
        """Start a server, also again; calls that the last run never got are gone."""
        if which in self.controls:
            self.controls[which].close()
        self.controls[which] = await self.servers[which].start()
        self._killed.discard(which)
        return self.controls[which]

    def kill(self, which: int) -> None:
        """Kill -9; from now on clients ask the other one."""
        self.servers[which].kill()
        self._killed.add(which)

    def _close(self) -> None:
        for control in self.controls.values():
            control.close()

    async def grant(self, which: int, client6: str, timeout_s: float = 30.0) -> str | None:
        """Ask one server; the address, or None when none was promised."""
        try:
            lease = await self.controls[which].call("lease.grant", timeout_s, client6=client6)
        except RefusedError as error:
            self.refusals[error.reason] += 1
        except ControlError:
            self.refusals["no answer"] += 1
        else:
            ipv4: str = lease["ipv4"]
            assert self.promised.setdefault(ipv4, client6) == client6, f"{ipv4} has two holders"
            return ipv4
        return None

    async def grant_all(self, asked: Iterable[str], timeout_s: float = 30.0) -> None:
        """Ask for the first at server 0, for the next at 1 and so on, AT_ONCE at each."""
        clients = list(asked)
        parts = (self.grant_all_at(which, clients[which::2], timeout_s) for which in (0, 1))
        await asyncio.gather(*parts)

    async def grant_all_at(self, which: int, asked: Iterable[str], timeout_s: float = 30.0) -> None:
        """Ask server `which` while it lives, AT_ONCE at a time."""
        queue = iter(asked)

        async def work() -> None:
            for client6 in queue:
                living = 1 - which if which in self._killed else which
                await self.grant(living, client6, timeout_s)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    def check(self) -> dict[str, str]:
        """Return who holds what: nobody two addresses, and everybody what was promised."""
        with psycopg.connect(self.conninfo) as db:
            rows = db.execute(BOUND).fetchall()
        holders = {str(IPv4Address(ipv4)): str(IPv6Address(client6)) for ipv4, client6 in rows}
        assert len(set(holders.values())) == len(holders) == len(rows)
        assert self.promised.items() <= holders.items()
        return holders


def clients(count: int, block: int = 1) -> list[str]:
    """Addresses of different clients."""
    return [str(IPv6Address(f"2001:db8:{block:x}::") + n) for n in range(1, count + 1)]
