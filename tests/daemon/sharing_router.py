"""A router as far as bindings go: two feeds, the real intake and binding table, no packets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Self

import numpy as np

from dstmrouter.binding import address4, address6
from dstmrouter.daemon.intake import Intake
from dstmrouter.daemon.shared import SharedTables, Sizes
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.zmqctl import FeedFollower

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.daemon.server_process import ServerProcess

TEP6 = IPv6Address("2001:db8:f::1")
SOURCE = "leases@store"


class SharingRouter:
    """Follows all of `servers` as one source, into a table for `pool`."""

    def __init__(self, name: str, pool: str, servers: Sequence[ServerProcess]) -> None:
        network = IPv4Network(pool)
        leases = network.num_addresses
        sizes = Sizes(workers=1, blocks=1 + leases // 256, leases=leases, hops=16, routes=16)
        self._shared = SharedTables.create(sizes)
        self._table = self._shared.tables.bindings
        self._table.lay_out([network], None)
        turns = self._shared.turns
        self._writer = BindingWriter(
            self._table, turns, [TEP6], lambda clients: np.zeros(len(clients), np.uint32)
        )
        intake = Intake(self._table, self._writer, turns, 1024, lambda: int(time.monotonic()))
        self.feeds = [
            FeedFollower(
                name=name,
                source=SOURCE,
                feed=server.endpoints[0],
                control=server.endpoints[1],
                curve=None,
                apply=intake.apply,
            )
            for server in servers
        ]

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Self]:
        tasks = [asyncio.create_task(feed.run()) for feed in self.feeds]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def bindings(self) -> dict[str, str]:
        """IPv4 address -> client6, as packets would be forwarded."""
        rows = self._table.rows_of(self._writer.bound_slots())
        pairs = zip(rows["ipv4"], rows["client6"], strict=True)
        return {str(address4(ipv4)): str(address6(client6)) for ipv4, client6 in pairs}

    def acknowledges(self, which: int) -> bool:
        """Whether the run of server `which` that is heard now is followed."""
        state = self.feeds[which].state()
        return not state["stale"] and state["generation"] is not None

    def refused(self) -> int:
        return sum(feed.state()["refused"] for feed in self.feeds)
