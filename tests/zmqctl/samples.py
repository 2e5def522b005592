"""Bindings for these tests, a table that keeps them, and waiting without guessing how long."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from dstmrouter.binding import OP_REMOVE, BindingColumns, full_address_columns
from dstmrouter.zmqctl.update import ApplyResult, BindingUpdate
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
TEP6: Final = IPv6Address("2001:db8:f::1")
FIRST4: Final = int(IPv4Address("198.18.0.0"))
DEADLINE_S: Final = PATIENCE_S


def puts(start: int, stop: int, *, client: int = 1, lifetime_s: int = 900) -> BindingColumns:
    """Bindings of the addresses `start` to `stop` of 198.18.0.0/15 to one client."""
    ipv4 = np.arange(FIRST4 + start, FIRST4 + stop, dtype=np.uint32)
    client6 = np.full((len(ipv4), 2), client, np.uint64)
    return full_address_columns(ipv4, client6, lifetime_s=lifetime_s, tep6=[TEP6])


def removes(start: int, stop: int) -> BindingColumns:
    """Their removal."""
    columns = puts(start, stop)
    columns.op[:] = OP_REMOVE
    return columns


class Table:
    """A binding table as the contract of `apply` asks for: rows owned by sources."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[str, int, int]] = {}  # ipv4: source, client, lifetime
        self.updates: list[BindingUpdate] = []
        self.gate = asyncio.Event()  # apply waits for it
        self.gate.set()
        self._seen: set[int] = set()

    async def apply(self, update: BindingUpdate) -> ApplyResult:
        await self.gate.wait()
        self.updates.append(update)
        refused = 0
        if update.first:
            self._seen = set()
        for op, ipv4, client, lifetime_s in self._values(update.columns):
            if self.rows.get(ipv4, (update.source,))[0] != update.source:
                refused += 1
            elif op == OP_REMOVE:
                self.rows.pop(ipv4, None)
            else:
                self.rows[ipv4] = (update.source, client, lifetime_s)
                self._seen.add(ipv4)
        if update.replace and update.last:
            gone = [i for i, row in self.rows.items() if row[0] == update.source]
            for ipv4 in set(gone) - self._seen:
                del self.rows[ipv4]
        return ApplyResult(
            applied=len(update.columns) - refused,
            refused=refused,
            rows=len(self.rows),
            reasons={"owned-by-other": refused} if refused else {},
        )

    @staticmethod
    def _values(columns: BindingColumns) -> list[tuple[int, int, int, int]]:
        clients = columns.client6[:, 0].tolist()
        rows = zip(
            columns.op.tolist(), columns.ipv4.tolist(), clients, columns.lifetime_s.tolist(),
            strict=True,
        )  # fmt: skip
        return list(rows)

    def clients(self) -> dict[int, int]:
        """Offset of the address in 198.18.0.0/15 -> client."""
        return {ipv4 - FIRST4: row[1] for ipv4, row in self.rows.items()}


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run one scenario to its end, with a deadline."""

    async def limited() -> T:
        async with asyncio.timeout(DEADLINE_S):
            return await scenario

    return asyncio.run(limited())


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; the deadline of `run` ends a vain wait."""
    while not condition():
        await asyncio.sleep(0.01)
