"""The duplicate request cache: a call that comes twice is done once.

A client that hears nothing sends its call again, over UDP with the same xid, over TCP on a new
connection. Such a copy gets the first one's reply, also while that is still being worked out. As
calls are the unit of work here, this is also where their number is limited.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dstmrouter.leases.quota import first_word

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from ipaddress import IPv6Address

KEEP_S: Final = 60.0  # longer than clients retransmit
ENTRIES_MAX: Final = 4096  # replies have 300 octets at most: 4 MB in all


class CallKey(NamedTuple):
    """What makes two calls the same one."""

    source: IPv6Address  # without the port: a new connection has a new one
    xid: int
    digest: bytes  # of the whole call: an xid alone may be used again

    @classmethod
    def of(cls, source: IPv6Address, xid: int, octets: bytes) -> CallKey:
        """The key of the call `octets` from `source`."""
        return cls(source, xid, hashlib.sha256(octets).digest())


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    task: asyncio.Task[bytes]
    began: float


class ReplyCache:
    """Calls at work, up to `at_work` in total and `per_source` of one /64; and their replies."""

    def __init__(self, *, at_work: int, per_source: int, entries: int = ENTRIES_MAX) -> None:
        self._limit = at_work
        self._source_limit = per_source
        self._entries_limit = entries
        self._entries: dict[CallKey, _Entry] = {}  # the oldest first
        self._at_work: collections.Counter[int] = collections.Counter()  # by /64

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: CallKey, now: float) -> asyncio.Task[bytes] | None:
        """The reply to the same call, finished or not, if that began less than KEEP_S ago."""
        self._forget(now)
        entry = self._entries.get(key)
        return None if entry is None else entry.task

    def is_full(self, source: IPv6Address) -> bool:
        """Whether no further call from `source` can be taken now."""
        of_source = self._at_work[first_word(source)]
        return of_source >= self._source_limit or self._at_work.total() >= self._limit

    def begin(
        self, key: CallKey, work: Coroutine[Any, Any, bytes], now: float
    ) -> asyncio.Task[bytes]:
        """Start `work`, whose result is the reply to every copy of the call."""
        task = asyncio.create_task(work)
        prefix = first_word(key.source)
        self._at_work[prefix] += 1
        task.add_done_callback(lambda _: self._ended(prefix))
        self._entries[key] = _Entry(task, now)
        return task

    def close(self) -> None:
        """Give up the calls at work."""
        for entry in self._entries.values():
            entry.task.cancel()

    def _ended(self, prefix: int) -> None:
        self._at_work[prefix] -= 1
        if not self._at_work[prefix]:
            del self._at_work[prefix]  # a counter for every /64 ever seen would be a leak

    def _forget(self, now: float) -> None:
        """Drop old replies, and the oldest if there are too many; never a call at work."""
        too_many = len(self._entries) - self._entries_limit + 1
        over: list[CallKey] = []
        for key, entry in self._entries.items():
            if entry.began + KEEP_S > now and len(over) >= too_many:
                break
            if entry.task.done():
                over.append(key)
        for key in over:
            del self._entries[key]
