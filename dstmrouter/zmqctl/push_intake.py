"""Bindings that other server programs push into a router: checked, put in order, applied, answered.

One task applies them, in the order of arrival, so pushes of one source never overtake each other.
The queue is short on purpose: a pusher waits for its answer before it sends the next part, and
whoever does not is told to try again.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from dstmrouter.errors import DstmError
from dstmrouter.zmqctl.columns import last_wins
from dstmrouter.zmqctl.messages import Failure, Push, Pushed
from dstmrouter.zmqctl.peer import Peer
from dstmrouter.zmqctl.update import Apply, BindingUpdate

QUEUE_MAX: Final = 8  # pushes of up to 2 MB each
OPEN_MAX: Final = 64  # replacements whose last part has not come yet

Answer: TypeAlias = Callable[[Peer, Pushed | Failure], Awaitable[object]]
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class _Open:
    """A replacement under way: who sends it and which part comes next."""

    peer: Peer
    parts: int
    next_part: int


class PushIntake:
    """Applies pushes one after the other; `answer` sends the outcome to the pusher."""

    def __init__(self, apply: Apply, answer: Answer) -> None:
        self.counters: collections.Counter[str] = collections.Counter()
        self._apply = apply
        self._answer = answer
        self._queue: asyncio.Queue[tuple[Peer, Push]] = asyncio.Queue(QUEUE_MAX)
        self._open: dict[str, _Open] = {}
        self._generation = 0

    async def offer(self, peer: Peer, push: Push) -> None:
        """Queue one push, or refuse it with the reason."""
        refusal = self._refusal(peer, push)
        if refusal is not None:
            self.counters[refusal.reason] += 1
            await self._answer(peer, refusal)
            return
        self._note_part(peer, push)
        self._queue.put_nowait((peer, push))

    async def run(self) -> None:
        """Apply queued pushes until cancelled."""
        while True:
            peer, push = await self._queue.get()
            await self._answer(peer, await self._outcome(push))

    def _refusal(self, peer: Peer, push: Push) -> Failure | None:
        if not peer.may_speak_for(push.source):
            text = f"the key of {peer.user} does not speak for source {push.source}"
            return Failure(id=push.id, reason="not-yours", text=text)
        if self._queue.full():
            return Failure(id=push.id, reason="busy", text="too many pushes wait, try again")
        under_way = self._open.get(push.source)
        if push.replace and push.part != 0 and under_way != _Open(peer, push.parts, push.part):
            text = f"part {push.part} of {push.parts} does not follow the last one, start again"
            return Failure(id=push.id, reason="out-of-order", text=text)
        return None

    def _note_part(self, peer: Peer, push: Push) -> None:
        """Remember which part of a replacement must follow; at most OPEN_MAX, the oldest goes."""
        if not push.replace:
            return
        self._open.pop(push.source, None)
        if push.part + 1 < push.parts:
            self._open[push.source] = _Open(peer, push.parts, push.part + 1)
        if len(self._open) > OPEN_MAX:
            del self._open[next(iter(self._open))]

    async def _outcome(self, push: Push) -> Pushed | Failure:
        self._generation += 1
        update = BindingUpdate(
            source=push.source,
            replace=push.replace,
            columns=last_wins(push.bindings),
            epoch=b"",
            generation=self._generation,
            first=not push.replace or push.part == 0,
            last=not push.replace or push.part + 1 == push.parts,
        )
        try:
            result = await self._apply(update)
        except DstmError as error:
            self._open.pop(push.source, None)
            self.counters["refused"] += 1
            _log.warning("push refused", source=push.source, error=str(error))
            return Failure(id=push.id, reason="refused", text=str(error)[:2000])
        self.counters["applied"] += 1
        return Pushed(id=push.id, **dataclasses.asdict(result))
