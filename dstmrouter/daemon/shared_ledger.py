"""The ledger of a server that shares its store: the same order, and other servers in between.

What others have stored is taken over before anything of ours is written, inside the transaction,
so what is written was decided by all that is stored. Changes that this overtakes are refused with
`SupersededError`, and whoever asked decides again; the others of the batch go through. Every server
tells its own feed what all servers do.

While the database is away nothing is promised: changes are refused and leave no trace, and what was
lent goes on. A commit whose answer got lost comes back as news when the database does.

The routers' acknowledgements of a removal are awaited by the server that began it. If that dies,
the others take it over: PostgreSQL ends its lock, and says so by itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.daemon.server_ledger import AnyLedger, SupersededError
from dstmrouter.leases.pgconnect import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from ipaddress import IPv6Address

    from dstmrouter.daemon.server_ledger import Feed, Waiting
    from dstmrouter.leases.lease import Lease
    from dstmrouter.leases.pgstore import AsyncConnection, PostgresStore
    from dstmrouter.leases.shared import SharedBook

log = structlog.get_logger(__name__)

POLL_S: Final = 1.0  # notifications come in a millisecond; this is for those that got lost
BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0


class SharedLedger(AnyLedger):
    """Settles changes of a `SharedBook` in a `PostgresStore`."""

    def __init__(
        self,
        book: SharedBook,
        store: PostgresStore,
        feed: Feed,
        *,
        tep6: Sequence[IPv6Address],
        routers: Callable[[], Collection[str]],
    ) -> None:
        super().__init__(book, feed, tep6=tep6, routers=routers)
        self._shared = book
        self._database = store
        self._at_work: Sequence[Waiting] = ()
        self._live: frozenset[int] = frozenset()
        self.away: UnavailableError | None = None
        """Why the database cannot be reached, None while it can."""

    async def settle(self, leases: Sequence[Lease]) -> int:
        """As `AnyLedger.settle`; SupersededError, or UnavailableError without a database."""
        if self.away is not None and leases:
            for lease in leases:
                self._shared.withdraw(lease.share)
            raise UnavailableError(self.away.text)
        return await super().settle(leases)

    async def run_settling(self) -> None:
        """As `AnyLedger.run_settling`; closes the connection at the end."""
        try:
            await super().run_settling()
        finally:
            await self._database.disconnect()

    def describe(self) -> dict[str, Any]:
        """What operators want to know of the store, as plain values."""
        away = None if self.away is None else self.away.text
        return {
            "run": self._database.run,
            "runs": sorted(self._live),
            "version": self._database.seen,
            "away": away,
        }

    def take_over(self) -> None:
        """Nothing: `run_following` finds removals that nobody awaits."""

    async def run_following(self) -> None:
        """Take over what other servers store, and what those that died have left."""
        backoff_s = BACKOFF_MIN_S
        while True:
            try:
                async with self._database.listening() as db:
                    backoff_s = BACKOFF_MIN_S
                    await self._follow(db)
            except UnavailableError as error:
                log.warning("other servers are not heard", reason=error.text)
            self._arrived.set()  # whether the database is away, the other connection will find
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    async def _follow(self, db: AsyncConnection) -> None:
        look_at = time.monotonic()
        while True:
            if time.monotonic() >= look_at:
                await self._inherit(db)
                look_at = time.monotonic() + POLL_S
            self._arrived.set()  # an empty batch: look for news
            async for _ in db.notifies(timeout=POLL_S, stop_after=1):
                pass

    async def _inherit(self, db: AsyncConnection) -> None:
        """Take over the removals that runs which do not live any more have begun."""
        live = frozenset(await self._database.live_runs(db))
        if live != self._live:
            log.info("servers of the store", runs=sorted(live), this=self._database.run)
            self._live = live
        left = [
            (share, lease_id)
            for share, lease_id in await self._database.orphans(db, sorted(live))
            if self._leaving.get(share) != lease_id and self._shared.space.slot(*share) is not None
        ]
        if not left:
            return
        await self.settle(())  # so that the book and the routers know of them
        for (ipv4, psid), lease_id in left:
            if self._shared.is_removing(ipv4, lease_id, psid=psid):
                self.watch_removal((ipv4, psid), lease_id)

    async def _keep(self, batch: Sequence[Waiting]) -> tuple[Sequence[Lease], Sequence[Lease]]:
        self._at_work = batch
        own: Sequence[Lease] = ()
        foreign: list[Lease] = []

        def agree(news: list[Lease]) -> list[Lease]:
            foreign.extend(self._adopt(news))
            last = {lease.share: lease for waiting in batch for lease in waiting.leases}
            return list(last.values())

        try:
            if any(waiting.leases for waiting in batch):
                own = await self._database.write(agree)
                self._shared.kept(own)
            else:
                agree(await self._database.newer())
            self._found()
        except UnavailableError as error:
            self._refuse(error)
            self._lost(error)
        self._at_work = ()
        return own, foreign

    def _adopt(self, news: list[Lease]) -> list[Lease]:
        """Take over what others stored, and refuse what that overtakes."""
        if not news:
            return []
        adopted = self._shared.adopt(news)
        void = {lease.share for lease in news}
        under_way = [lease for waiting in self._at_work for lease in waiting.leases]
        void.update(self._shared.withdraw_broken(under_way))
        for waiting in (*self._at_work, *self._waiting):
            left = [lease for lease in waiting.leases if lease.share not in void]
            if len(left) < len(waiting.leases):
                waiting.leases = left
                waiting.refusal = SupersededError()
        return adopted

    def _refuse(self, error: UnavailableError) -> None:
        """Take back everything that waits."""
        waiting, self._waiting = self._waiting, []
        for one in (*self._at_work, *waiting):
            if one.leases:
                one.leases, one.refusal = [], UnavailableError(error.text)
        for share in self._shared.drafts:
            self._shared.withdraw(share)
        for one in waiting:
            one.finish(0)

    def _lost(self, error: UnavailableError) -> None:
        if self.away is None:
            log.error("the lease database is away: nothing is promised", reason=error.text)
        self.away = error

    def _found(self) -> None:
        if self.away is not None:
            log.info("the lease database is back")
        self.away = None
