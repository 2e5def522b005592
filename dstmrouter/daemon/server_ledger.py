"""The order that nothing may leave out: on disk, then told to the routers, then removed for good.

Changes of the book come in as they are made and go through in that order. Those that arrive while a
transaction is forced to disk share the next one, so the number of grants per second is not the
number of fsyncs per second.

A store that cannot write ends the server: what it holds is then unknown, and a server that promises
nothing is better than one that forgets. The next start reads what is really on disk.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from dstmrouter.leases.bindings import changed_bindings
from dstmrouter.leases.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from ipaddress import IPv6Address

    from dstmrouter.binding import BindingColumns
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.lease import Lease, Share
    from dstmrouter.leases.store import LeaseStore

log = structlog.get_logger(__name__)

EXPIRY_POLL_S: Final = 0.5  # one look at a million leases takes 5 ms: not for each that ends
EXPIRY_BATCH: Final = 2_000  # about 50 ms, in which nobody is answered
RETRY_S: Final = 1.0  # how long one wait for acknowledgements of removals lasts


class Feed(Protocol):
    """What the ledger needs of a `FeedPublisher`."""

    generation: int

    async def publish(self, changes: BindingColumns) -> int:
        """Send changes to all routers and return their generation."""

    async def wait_acked(
        self, generation: int, routers: Collection[str], timeout_s: float
    ) -> set[str]:
        """Wait for acknowledgements; return the routers that are missing."""


class Ledger:
    """Settles changes of `book`; `routers` names those that must have acknowledged a removal."""

    def __init__(
        self,
        book: LeaseBook,
        store: LeaseStore,
        feed: Feed,
        *,
        tep6: Sequence[IPv6Address],
        routers: Callable[[], Collection[str]],
    ) -> None:
        self._book = book
        self._store = store
        self._feed = feed
        self._tep6 = tep6
        self._routers = routers
        self._waiting: list[tuple[Sequence[Lease], asyncio.Future[int]]] = []
        self._arrived = asyncio.Event()
        self._leaving: dict[Share, int] = {}  # lease_id of what routers were told to remove
        self._told_to_remove = asyncio.Event()

    async def settle(self, leases: Sequence[Lease]) -> int:
        """Make changes durable, tell the routers, and return the generation that tells them."""
        settled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((leases, settled))
        self._arrived.set()
        return await settled

    async def drain(self) -> None:
        """Return when everything that was waiting is settled."""
        await self.settle(())

    async def run_settling(self) -> None:
        """Settle what arrives; ends with `StoreError` when the store cannot write."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            leases = [lease for changed, _ in batch for lease in changed]
            if leases:
                await asyncio.to_thread(self._store.write, leases)
            generation = await self._tell(leases)
            self.await_removal(leases)
            log.debug("settled", changes=len(leases), generation=generation)
            for _, settled in batch:
                if not settled.done():  # else: whoever asked has gone
                    settled.set_result(generation)

    async def run_expiry(self) -> None:
        """End what is over, when it is over."""
        while True:
            now = time.monotonic()
            over: list[Lease] = []
            if (due := self._book.next_timer()) is not None and due <= now:
                over = self._book.expire(now, limit=EXPIRY_BATCH)
                await self.settle(over)
            if len(over) < EXPIRY_BATCH:
                await asyncio.sleep(EXPIRY_POLL_S)

    async def run_removal(self) -> None:
        """Start the quarantine of addresses whose removal the routers have acknowledged.

        Without a router that could acknowledge, only the routers' own expiry ends the wait (the
        book's timer): there may be one that was never heard.
        """
        while True:
            await self._told_to_remove.wait()
            batch = dict(self._leaving)
            if await self._all_acked():
                now = time.monotonic()
                ended = [
                    self._book.removed(ipv4, lease_id, now, psid=psid)
                    for (ipv4, psid), lease_id in batch.items()
                ]
                await self.settle([lease for lease in ended if lease is not None])

    async def _all_acked(self) -> bool:
        routers = self._routers()
        if not routers:
            await asyncio.sleep(RETRY_S)
            return False
        return not await self._feed.wait_acked(self._feed.generation, routers, RETRY_S)

    def await_removal(self, leases: Iterable[Lease]) -> None:
        """Watch for the acknowledgement of the removals among changes the routers were told.

        The next change of an address ends that: it was acknowledged, ran out, or was taken back.
        """
        for lease in leases:
            if lease.state is State.REMOVING:
                self._leaving[lease.share] = lease.lease_id
            else:
                self._leaving.pop(lease.share, None)
        if self._leaving:
            self._told_to_remove.set()
        else:
            self._told_to_remove.clear()

    async def _tell(self, leases: Sequence[Lease]) -> int:
        grace_s = self._book.terms.grace_s
        now = time.monotonic()
        changes = changed_bindings(leases, now, grace_s=grace_s, tep6=self._tep6)
        return await self._feed.publish(changes) if len(changes) else self._feed.generation
