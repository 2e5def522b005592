"""The order that nothing may leave out: on disk, then told to the routers, then removed for good.

Changes of the book come in as they are made and go through in that order. Those that arrive while a
transaction is forced to disk share the next one, so the number of grants per second is not the
number of fsyncs per second.

A store that cannot write ends the server: what it holds is then unknown, and a server that promises
nothing is better than one that forgets. The next start reads what is really on disk.
"""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from dstmrouter.errors import LeaseError
from dstmrouter.leases.bindings import changed_bindings
from dstmrouter.leases.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from ipaddress import IPv6Address

    from dstmrouter.binding import BindingColumns
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.lease import Lease, Share
    from dstmrouter.leases.store import LeaseStore

log = structlog.get_logger(__name__)

EXPIRY_POLL_S: Final = 0.5  # one look at a million leases takes 5 ms: not for each that ends
EXPIRY_BATCH: Final = 2_000  # about 50 ms, in which nobody is answered
QUIET_TURNS: Final = 4  # of the event loop without a change: most messages of a dialogue bring none
TURNS_MAX: Final = 64
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


class SupersededError(LeaseError):
    """Another server of the store has changed what a decision rested on: decide again."""

    def __init__(self) -> None:
        super().__init__("try-again", "another server was faster, try again")


@dataclasses.dataclass(slots=True)
class Waiting:
    """Changes that wait to be settled, and whoever waits for that."""

    leases: list[Lease]
    settled: asyncio.Future[int]
    refusal: LeaseError | None = None

    def finish(self, generation: int) -> None:
        """Tell that the changes are told to routers as `generation`, or refused."""
        if self.settled.done():
            return  # whoever asked has gone
        if self.refusal is None:
            self.settled.set_result(generation)
        else:
            self.settled.set_exception(self.refusal)


class AnyLedger(abc.ABC):
    """Settles changes of `book`; `routers` names those that must have acknowledged a removal."""

    def __init__(
        self,
        book: LeaseBook,
        feed: Feed,
        *,
        tep6: Sequence[IPv6Address],
        routers: Callable[[], Collection[str]],
    ) -> None:
        self._book = book
        self._feed = feed
        self._tep6 = tep6
        self._routers = routers
        self._waiting: list[Waiting] = []
        self._arrived = asyncio.Event()
        self._leaving: dict[Share, int] = {}  # lease_id of what routers were told to remove
        self._told_to_remove = asyncio.Event()

    async def settle(self, leases: Sequence[Lease]) -> int:
        """Make changes durable, tell the routers, and return the generation that tells them."""
        waiting = Waiting(list(leases), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.settled

    async def drain(self) -> None:
        """Return when everything that was waiting is settled."""
        await self.settle(())

    async def run_settling(self) -> None:
        """Settle what arrives; ends with `StoreError` when the store is not what it should be."""
        while True:
            await self._arrived.wait()
            await self._gather()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            own, foreign = await self._keep(batch)
            generation = await self._tell([*foreign, *own])
            self._forget_ended(foreign)
            self.await_removal(own)
            log.debug("settled", changes=len(own), foreign=len(foreign), generation=generation)
            for waiting in batch:
                waiting.finish(generation)

    async def _gather(self) -> None:
        """Let more changes come in, as long as they do: each transaction has a price of its own.

        When the event loop has nothing else to do, its turns take no time, and nobody waits longer.
        """
        quiet = 0
        for _ in range(TURNS_MAX):
            before = len(self._waiting)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == before else 0
            if quiet == QUIET_TURNS:
                return

    @abc.abstractmethod
    async def run_following(self) -> None:
        """Keep up with other servers of the same store, if there are any."""

    def describe(self) -> dict[str, Any]:
        """What operators want to know beyond the name of the store, as plain values."""
        return {}

    async def resume(self, superseded: Sequence[Lease]) -> None:
        """Begin where the last run ended; `superseded` is what the book could not go on with."""
        if superseded:
            log.warning(
                "leases ended: superseded, or the pool is shared in another way",
                count=len(superseded),
            )
            await self._settled(superseded)
        self.take_over()

    @abc.abstractmethod
    def take_over(self) -> None:
        """Go on with the removals that earlier runs did not finish."""

    @abc.abstractmethod
    async def _keep(self, batch: Sequence[Waiting]) -> tuple[Sequence[Lease], Sequence[Lease]]:
        """Make a batch durable; return its changes, and those that other servers have made."""

    async def run_expiry(self) -> None:
        """End what is over, when it is over."""
        while True:
            now = time.monotonic()
            over: list[Lease] = []
            if (due := self._book.next_timer()) is not None and due <= now:
                over = self._book.expire(now, limit=EXPIRY_BATCH)
                if not await self._settled(over):
                    over = []  # look again later
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
                if not await self._settled([lease for lease in ended if lease is not None]):
                    await asyncio.sleep(RETRY_S)
                self._forget(batch)
            if not self._leaving:
                self._told_to_remove.clear()

    async def _settled(self, leases: Sequence[Lease]) -> bool:
        """Settle what time has brought; False where another server, or no store, was in the way."""
        try:
            await self.settle(leases)
        except LeaseError as error:
            log.debug("not settled", reason=error.reason, text=str(error))
            return False
        return True

    async def _all_acked(self) -> bool:
        routers = self._routers()
        if not routers:
            await asyncio.sleep(RETRY_S)
            return False
        return not await self._feed.wait_acked(self._feed.generation, routers, RETRY_S)

    def _forget(self, batch: Mapping[Share, int]) -> None:
        """Forget removals that were acknowledged, unless they must be settled once more."""
        for share, lease_id in batch.items():
            ipv4, psid = share
            if self._leaving.get(share) == lease_id and not self._book.is_removing(
                ipv4, lease_id, psid=psid
            ):
                del self._leaving[share]

    def _forget_ended(self, foreign: Iterable[Lease]) -> None:
        """Forget removals that other servers have ended, or that their holders took back there."""
        for lease in foreign:
            going_on = lease.state is State.REMOVING
            if not going_on or self._leaving.get(lease.share) != lease.lease_id:
                self._leaving.pop(lease.share, None)

    def await_removal(self, leases: Iterable[Lease]) -> None:
        """Watch for the acknowledgement of the removals among changes the routers were told.

        What ends without one, run out or taken back by the holder, is among them as well: nobody
        needs to look for it.
        """
        for lease in leases:
            if lease.state is State.REMOVING:
                self.watch_removal(lease.share, lease.lease_id)
            elif self._leaving:
                self._leaving.pop(lease.share, None)

    def watch_removal(self, share: Share, lease_id: int) -> None:
        """Start the quarantine of `share` when routers have acknowledged everything up to now."""
        self._leaving[share] = lease_id
        self._told_to_remove.set()

    async def _tell(self, leases: Sequence[Lease]) -> int:
        grace_s = self._book.terms.grace_s
        now = time.monotonic()
        changes = changed_bindings(leases, now, grace_s=grace_s, tep6=self._tep6)
        return await self._feed.publish(changes) if len(changes) else self._feed.generation


class Ledger(AnyLedger):
    """Settles changes of `book` in a file that is this server's alone."""

    def __init__(
        self,
        book: LeaseBook,
        store: LeaseStore,
        feed: Feed,
        *,
        tep6: Sequence[IPv6Address],
        routers: Callable[[], Collection[str]],
    ) -> None:
        super().__init__(book, feed, tep6=tep6, routers=routers)
        self._store = store

    async def run_following(self) -> None:
        """Do nothing: the file has a lock."""

    def take_over(self) -> None:
        """As `AnyLedger.take_over`.

        No snapshot of this run holds them, so acknowledging any is acknowledging the removal.
        """
        table = self._book.table
        slots = table.in_states(frozenset({State.REMOVING})).tolist()
        self.await_removal([table.get(slot) for slot in slots])

    async def _keep(self, batch: Sequence[Waiting]) -> tuple[Sequence[Lease], Sequence[Lease]]:
        leases = [lease for waiting in batch for lease in waiting.leases]
        if leases:
            await asyncio.to_thread(self._store.write, leases)
        return leases, ()
