"""Servers that share a store, as far as their books go, and that store, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.leases.pool import AddressSpace
from dstmrouter.leases.quota import Quotas
from dstmrouter.leases.shared import SharedBook
from tests.leases.lending import FIRST, TEP6, TERMS, pool, stored, wish

if TYPE_CHECKING:
    from dstmrouter.leases.lease import Lease, Share

SIZE = 6


def book(run: int, quotas: Quotas | None = None) -> SharedBook:
    space = AddressSpace([pool(str(FIRST), str(FIRST + SIZE - 1))])
    return SharedBook(space, TERMS, run=run, tep6=[TEP6], quotas=quotas or Quotas())


class Shelf:
    """What the store does, in memory: versions, and what others have not seen yet."""

    def __init__(self) -> None:
        self.version = 0
        self.rows: dict[Share, tuple[int, Lease]] = {}

    def newer(self, seen: int) -> list[Lease]:
        return [row for version, row in self.rows.values() if version > seen]

    def put(self, leases: list[Lease]) -> None:
        self.version += 1
        self.rows |= {lease.share: (self.version, lease) for lease in leases}


class Server:
    """A book and the drafts that wait, settled as the ledger does."""

    def __init__(self, shelf: Shelf, run: int, quotas: Quotas | None = None) -> None:
        self.shelf = shelf
        self.book = book(run, quotas)
        self.book.restore(stored(self.book))
        self.seen = 0
        self.waiting: list[Lease] = []

    def settle(self, *, away: bool = False) -> list[Lease]:
        """Store what waits; return what was refused."""
        batch, self.waiting = self.waiting, []
        if away:
            for lease in batch:
                self.book.withdraw(lease.share)
            return batch
        news = self.shelf.newer(self.seen)
        self.seen = self.shelf.version
        void = {row.share for row in news}
        self.book.adopt(news)
        void.update(self.book.withdraw_broken(batch))
        kept = {lease.share: lease for lease in batch if lease.share not in void}
        if kept:
            self.shelf.put(list(kept.values()))
            self.seen = self.shelf.version
            self.book.kept(kept.values())
        return [lease for lease in batch if lease.share in void]

    def grant(self, number: int, hint: int | None = None, identity: str = "") -> Lease:
        lease = self.book.grant(wish(number, hint, identity), 0.0)
        self.waiting.append(lease)
        return lease


def pair(quotas: Quotas | None = None) -> tuple[Server, Server]:
    shelf = Shelf()
    return Server(shelf, 1, quotas), Server(shelf, 2, quotas)
