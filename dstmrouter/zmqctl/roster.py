"""The routers a server has heard of, and who waits for their acknowledgements."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstmrouter.zmqctl.messages import Ack, Alive

ROUTERS_MAX: Final = 1_024  # names remembered; then the one silent for longest is forgotten


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RouterState:
    """One router as the server sees it; `generation` -1: nothing of this run acknowledged yet."""

    name: str
    generation: int
    heard_s: float  # seconds since its last message
    rows: int
    refused: int  # bindings it refused, since its start

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for a control reply."""
        return dataclasses.asdict(self) | {"heard_s": round(self.heard_s, 3)}


@dataclasses.dataclass(slots=True)
class _Router:
    generation: int = -1
    heard_at: float = 0.0
    rows: int = 0
    refused: int = 0


@dataclasses.dataclass(slots=True, eq=False)
class _Waiter:
    generation: int
    missing: set[str]
    done: asyncio.Event


class RouterRoster:
    """What each router has acknowledged of the server run `epoch`."""

    def __init__(self, epoch: bytes) -> None:
        self._epoch = epoch
        self._routers: dict[str, _Router] = {}
        self._waiters: set[_Waiter] = set()

    def acked(self, ack: Ack, now: float) -> None:
        """Note an acknowledgement and wake whoever waited for it."""
        router = self._heard(ack.router, now)
        router.rows = ack.rows
        router.refused += ack.refused
        self._note_generation(ack.router, router, ack.epoch, ack.generation)

    def alive(self, alive: Alive, now: float) -> None:
        """Note a sign of life; it also stands for acknowledgements that were lost."""
        router = self._heard(alive.router, now)
        router.rows, router.refused = alive.rows, alive.refused
        self._note_generation(alive.router, router, alive.epoch, alive.generation)

    def states(self, now: float) -> list[RouterState]:
        """Return all routers, by name."""
        return [
            RouterState(
                name=name,
                generation=router.generation,
                heard_s=now - router.heard_at,
                rows=router.rows,
                refused=router.refused,
            )
            for name, router in sorted(self._routers.items())
        ]

    async def wait_acked(
        self, generation: int, routers: Collection[str], timeout_s: float
    ) -> set[str]:
        """Wait until `routers` acknowledged `generation`; returns those that did not in time."""
        missing = {name for name in routers if self._generation_of(name) < generation}
        if not missing:
            return missing
        waiter = _Waiter(generation, missing, asyncio.Event())
        self._waiters.add(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await waiter.done.wait()
        finally:
            self._waiters.discard(waiter)
        return waiter.missing

    def _generation_of(self, name: str) -> int:
        router = self._routers.get(name)
        return -1 if router is None else router.generation

    def _heard(self, name: str, now: float) -> _Router:
        if name not in self._routers and len(self._routers) >= ROUTERS_MAX:
            del self._routers[min(self._routers, key=lambda other: self._routers[other].heard_at)]
        router = self._routers.setdefault(name, _Router())
        router.heard_at = now
        return router

    def _note_generation(self, name: str, router: _Router, epoch: bytes, generation: int) -> None:
        if epoch != self._epoch:
            router.generation = -1  # a router that restarted forwards by nothing of ours yet
            return
        router.generation = generation
        for waiter in self._waiters:
            if generation >= waiter.generation:
                waiter.missing.discard(name)
                if not waiter.missing:
                    waiter.done.set()
