"""A `LeaseSource` that answers what a test has laid ready."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from dstmrouter.daemon.lease_source import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import GrantedLease


class ScriptedSource:
    """`answers` are taken in turn: a lease, an error, or None for no answer at all.

    A function is called then, and says which.
    """

    def __init__(
        self,
        *answers: GrantedLease | SourceError | Callable[[], GrantedLease | SourceError] | None,
    ) -> None:
        self.answers = deque(answers)
        self.asked: list[str] = []
        self.closed = 0

    async def obtain(
        self, client6: IPv6Address, *, hint4: IPv4Address | None, lifetime_s: int | None
    ) -> GrantedLease:
        return await self._answer(f"obtain {client6} {hint4} {lifetime_s}")

    async def renew(self, lease: GrantedLease, *, lifetime_s: int | None) -> GrantedLease:
        return await self._answer(f"renew {lease.client4} {lifetime_s}")

    async def release(self, lease: GrantedLease) -> None:
        self.asked.append(f"release {lease.client4}")

    async def close(self) -> None:
        self.closed += 1

    async def _answer(self, question: str) -> GrantedLease:
        self.asked.append(question)
        answer = self.answers.popleft()
        if callable(answer):
            answer = answer()
        if isinstance(answer, SourceError):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer
