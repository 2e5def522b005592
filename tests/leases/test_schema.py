from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.leases.schema import SchemaError, prepare
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore
from tests.leases.lending import FIRST, TERMS, book_of, client, wish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstmrouter.leases.lease import Lease

# The file that the first version made, with its statements.
VERSION_1 = """
CREATE TABLE schema (version INTEGER NOT NULL);
INSERT INTO schema VALUES (1);
CREATE TABLE leases (
    ipv4 INTEGER PRIMARY KEY,
    client6 BLOB NOT NULL CHECK (length(client6) = 16),
    identity TEXT NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    lease_id INTEGER NOT NULL,
    until REAL NOT NULL -- Unix time
);
"""
WRITE_1 = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)"
T0 = 1e9  # Unix time, far in the past: a time that no statement may take from the real clock


class Clocked:
    """A book over a store, both by clocks that the test sets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unix = T0
        self.store = LeaseStore(
            path, wall=lambda: self.unix, monotonic=lambda: self.unix - T0, boot=1
        )
        self.book = book_of(4)

    @property
    def now(self) -> float:
        return self.unix - T0

    def keep(self, lease: Lease | None) -> Lease:
        assert lease is not None
        self.store.write([lease])
        return lease

    def history(self) -> list[tuple[Any, ...]]:
        """Ended holdings: place, client, identity, lease number; from and to, seconds since T0."""
        db = sqlite3.connect(self.path)
        rows = db.execute(
            "SELECT ipv4, client6, identity, lease_id, since, until FROM history ORDER BY id"
        ).fetchall()
        db.close()
        return [
            (
                ipv4 - int(FIRST),
                int.from_bytes(client6, "big") - int(client(0)),
                identity,
                lease_id,
                since - T0,
                until - T0,
            )
            for ipv4, client6, identity, lease_id, since, until in rows
        ]


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    made = Clocked(tmp_path / "leases.sqlite")
    yield made
    made.store.close()


def test_a_released_lease_was_held_until_the_routers_had_removed_it(clocked: Clocked) -> None:
    book = clocked.book
    clocked.keep(book.offer(wish(1, identity="ann"), clocked.now))
    clocked.unix += 2
    lease = clocked.keep(book.grant(wish(1, identity="ann"), clocked.now))
    clocked.unix += 10
    clocked.keep(book.renew(lease.ipv4, client(1), clocked.now, lifetime_s=None))
    clocked.keep(book.release(lease.ipv4))
    assert clocked.history() == []
    clocked.unix += 1
    clocked.keep(book.removed(lease.ipv4, lease.lease_id, clocked.now))
    assert clocked.history() == [(0, 1, "ann", lease.lease_id, 0, 13)]
    clocked.unix += TERMS.quarantine_s
    clocked.store.write(book.expire(clocked.now))
    assert len(clocked.history()) == 1


def test_a_lease_that_ran_out_while_the_server_was_away_ended_with_the_routers_expiry(
    clocked: Clocked,
) -> None:
    lease = clocked.keep(clocked.book.grant(wish(1), clocked.now))
    clocked.unix += 5000
    clocked.store.write(clocked.book.expire(clocked.now))
    clocked.store.write(clocked.book.expire(clocked.now))
    ended = TERMS.default_s + TERMS.grace_s
    assert clocked.history() == [(0, 1, "", lease.lease_id, 0, ended)]


def test_a_move_ends_one_holding_and_begins_another(clocked: Clocked) -> None:
    book = clocked.book
    lease = clocked.keep(book.grant(wish(1, identity="ann"), clocked.now))
    clocked.unix += 5
    clocked.keep(book.grant(wish(2, hint=0, identity="ann"), clocked.now))
    clocked.unix += 5
    clocked.keep(book.hold(lease.ipv4))
    assert clocked.history() == [
        (0, 1, "ann", lease.lease_id, 0, 5),
        (0, 2, "ann", lease.lease_id, 5, 10),
    ]


def test_a_holder_who_comes_back_has_two_holdings(clocked: Clocked) -> None:
    book = clocked.book
    lease = clocked.keep(book.grant(wish(1), clocked.now))
    clocked.unix += 5
    clocked.keep(book.release(lease.ipv4))
    clocked.unix += 1
    clocked.keep(book.grant(wish(1), clocked.now))
    clocked.unix += 1
    clocked.keep(book.hold(lease.ipv4))
    clocked.keep(book.unhold(lease.ipv4))
    assert clocked.history() == [
        (0, 1, "", lease.lease_id, 0, 6),
        (0, 1, "", lease.lease_id + 1, 6, 7),
    ]


def test_changes_of_one_transaction_are_taken_one_by_one(clocked: Clocked) -> None:
    book = clocked.book
    lease = book.grant(wish(1), clocked.now)
    changes = [lease, book.release(lease.ipv4), book.removed(lease.ipv4, lease.lease_id, 0.0)]
    clocked.store.write([change for change in changes if change is not None])
    assert clocked.history() == [(0, 1, "", lease.lease_id, 0, 0)]


def test_a_file_of_version_1_is_brought_up_to_date_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    db = sqlite3.connect(path)
    db.executescript(VERSION_1)
    rows = [
        (int(FIRST), client(1).packed, "ann", int(State.ACTIVE), 7, T0 + 100),
        (int(FIRST) + 1, client(2).packed, "", int(State.FREE), 3, T0 - 50),
    ]
    db.executemany(WRITE_1, rows)
    db.commit()
    db.close()
    store = LeaseStore(path, wall=lambda: T0, monotonic=lambda: 40.0, boot=1)
    assert store.found_version == 1
    loaded = store.load()
    assert loaded.ipv4.tolist() == [int(FIRST), int(FIRST) + 1]
    assert loaded.client6.tobytes() == client(1).packed + client(2).packed
    assert loaded.identity == ("ann", "")
    assert loaded.state.tolist() == [State.ACTIVE, State.FREE]
    assert loaded.lease_id.tolist() == [7, 3]
    assert loaded.until.tolist() == [140.0, -10.0]
    store.close()
    again = LeaseStore(path)
    assert again.found_version == 2
    assert len(again.load()) == 2
    again.close()


def test_an_upgraded_file_has_the_tables_of_a_new_one() -> None:
    new, old = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    old.executescript(VERSION_1)
    assert (prepare(new), prepare(old)) == (0, 1)
    tables = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    assert old.execute(tables).fetchall() == new.execute(tables).fetchall()
    versions = [db.execute("SELECT version FROM schema").fetchall() for db in (old, new)]
    assert versions == [[(2,)], [(2,)]]


def test_an_upgrade_that_fails_changes_nothing() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(VERSION_1)
    db.execute("CREATE TABLE history (x)")  # in the way
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        prepare(db)
    db.execute("ROLLBACK")
    assert db.execute("SELECT version FROM schema").fetchall() == [(1,)]
    assert db.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]


def test_other_files_are_refused() -> None:
    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE schema (version); CREATE TABLE leases (x);")
    db.execute("INSERT INTO schema VALUES (3)")
    with pytest.raises(SchemaError, match="schema version 3, expected 2 or 1"):
        prepare(db)
