"""Where a server keeps its leases: a file of its own, or a database that it shares with others.

Only who has a database imports what speaks to it: that takes as long as all else of a small server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from dstmrouter.daemon.server_ledger import AnyLedger, Ledger
from dstmrouter.daemon.server_rules import lease_book
from dstmrouter.leases.history import LeaseHistory
from dstmrouter.leases.shared import SharedBook
from dstmrouter.leases.store import LeaseStore
from dstmrouter.zmqctl import StoreStamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dstmrouter.config.server import ServerConfig, StoreSection
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.history import History
    from dstmrouter.leases.pgstore import PostgresStore
    from dstmrouter.zmqctl import FeedPublisher

Store: TypeAlias = "LeaseStore | PostgresStore"


def check_store(section: StoreSection) -> None:
    """ConfigError for what cannot be used at all; whether it answers is not asked."""
    if section.postgresql is not None:
        from dstmrouter.leases.pgconnect import checked_conninfo

        checked_conninfo(section.postgresql)


def open_store(section: StoreSection) -> Store:
    """The store, with its tables made; StoreError when it cannot be used."""
    if section.postgresql is not None:
        from dstmrouter.leases.pgstore import PostgresStore

        return PostgresStore(section.postgresql)
    return LeaseStore(section.path)


def open_history(section: StoreSection) -> History:
    """The history that is kept with the leases."""
    if section.postgresql is not None:
        from dstmrouter.leases.pghistory import PostgresHistory

        return PostgresHistory(section.postgresql)
    return LeaseHistory(section.path)


def book_for(config: ServerConfig, store: Store) -> LeaseBook:
    """An empty book that fits the store."""
    return lease_book(config, run=None if isinstance(store, LeaseStore) else store.run)


def ledger_for(
    book: LeaseBook,
    store: Store,
    feed: FeedPublisher,
    config: ServerConfig,
    routers: Callable[[], Collection[str]],
) -> AnyLedger:
    """The ledger between them; `routers` names those that must acknowledge removals."""
    tep6 = config.tep.tep6
    if isinstance(store, LeaseStore):
        return Ledger(book, store, feed, tep6=tep6, routers=routers)
    from dstmrouter.daemon.shared_ledger import SharedLedger

    assert isinstance(book, SharedBook), "made by book_for"
    feed.share(StoreStamp(store.id, lambda: store.seen))
    return SharedLedger(book, store, feed, tep6=tep6, routers=routers)
