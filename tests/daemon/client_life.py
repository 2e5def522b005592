"""A `ClientDaemon` in a client's namespace, whose server is a script; the gateway is mirrored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dstmrouter.config.load import check_client
from dstmrouter.daemon.client_daemon import ClientDaemon
from dstmrouter.daemon.client_servers import ServerSource
from dstmrouter.daemon.client_status import boottime, read_status
from dstmrouter.protocols.granted import GrantedLease
from lab.netns import interfaces
from tests.daemon.lease_sources import ScriptedSource
from tests.dti.conftest import CLIENT4, CLIENT6, TEP4, TEP6, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

    from dstmrouter.daemon.lease_source import SourceError

WITHIN_S = 60.0


def leased(
    client4: IPv4Address = CLIENT4, client6: IPv6Address = CLIENT6, lifetime_s: int = 900
) -> GrantedLease:
    return GrantedLease(
        client4=client4, client6=client6, tep4=TEP4, tep6=TEP6, lifetime_s=lifetime_s
    )


class Life:
    """The daemon at work; `source` is its only server."""

    def __init__(
        self,
        wire: Wire,
        tmp_path: Path,
        answers: tuple[
            GrantedLease | SourceError | Callable[[], GrantedLease | SourceError] | None, ...
        ],
    ) -> None:
        self.wire = wire
        self.run_dir = tmp_path / "run"
        self.source = ScriptedSource(*answers)

    def config(self, **tables: dict[str, Any]) -> Any:
        made: dict[str, dict[str, Any]] = {
            "client": {"run_dir": str(self.run_dir)},
            "servers": {"hosts": [str(TEP6)], "protocols": ["tsp"]},
            "tunnel": {"backend": "tun"},
            "keepalive": {"interval_s": 0.05},
        }
        for name, table in tables.items():
            made[name] = made.get(name, {}) | table
        return check_client(self.run_dir, made)

    def source_of(self, server: str) -> ServerSource:
        return ServerSource(server, [("tsp", lambda: self.source)], timeout_s=WITHIN_S)

    def status(self) -> dict[str, Any]:
        return read_status(self.run_dir, "dti0", boottime()) or {"state": None}

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    async def until_state(self, name: str) -> None:
        await self.until(lambda: self.status()["state"] == name)

    def has_dti(self) -> bool:
        return "dti0" in interfaces(self.wire.client)


def live(
    life: Life, scenario: Callable[[Life], Coroutine[Any, Any, None]], **tables: dict[str, Any]
) -> None:
    """Run the daemon until the scenario is over; it must end by itself then, and clean up."""

    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.timeout(WITHIN_S):
            running = asyncio.create_task(
                ClientDaemon(life.config(**tables), life.source_of).run(stop)
            )
            acting = asyncio.create_task(scenario(life))
            await asyncio.wait([running, acting], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                acting.cancel()
                running.result()
            acting.result()
            stop.set()
            await running

    with life.wire.client.entered():
        asyncio.run(main())
    assert not life.has_dti()
    assert {path.name for path in life.run_dir.iterdir()} <= {"dti0.last"}
