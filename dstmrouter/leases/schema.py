"""The tables of the lease file, and how older files become like new ones.

`leases` has one row per share (an address, or a port set of one) that was ever lent: its state, and
its holder or last holder. Its key is one integer, which SQLite finds faster than two columns.
`history` has one row per holding that has ended: who had which share, from when to when. A holding
lasts as long as routers may forward for it, so through the states OFFERED, ACTIVE and REMOVING
(1 to 3), and ends earlier when the share goes to another client6 or under another lease.
A trigger writes it from the row that is replaced, so that no change of a lease can be without it.
A lease that runs out ends when the last router forgets it, not when a server that was down says so.

Holdings that last stand in `leases` alone, with the time of their beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    import sqlite3

VERSION: Final = 2
MARK: Final = "CREATE TABLE schema (version INTEGER NOT NULL); INSERT INTO schema VALUES (2);"
TABLES: Final = """
CREATE TABLE leases (
    share INTEGER PRIMARY KEY, -- ipv4 * 65536 + psid
    client6 BLOB NOT NULL CHECK (length(client6) = 16),
    identity TEXT NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    lease_id INTEGER NOT NULL,
    until REAL NOT NULL, -- Unix time
    monotonic REAL NOT NULL, -- the same by the monotonic clock of `boot`
    boot INTEGER NOT NULL,
    written REAL NOT NULL, -- Unix time of this row
    since REAL, -- Unix time at which the holding began; null: nobody has it
    psid_offset INTEGER NOT NULL,
    psid_len INTEGER NOT NULL,
    ipv4 INTEGER AS (share >> 16),
    psid INTEGER AS (share & 65535)
);
CREATE TABLE boot ( -- one row: when the file was first opened in the last boot of the machine
    number INTEGER NOT NULL,
    unix REAL NOT NULL,
    monotonic REAL NOT NULL
);
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    ipv4 INTEGER NOT NULL,
    psid_offset INTEGER NOT NULL,
    psid_len INTEGER NOT NULL,
    psid INTEGER NOT NULL,
    client6 BLOB NOT NULL,
    identity TEXT NOT NULL,
    lease_id INTEGER NOT NULL,
    since REAL NOT NULL, -- Unix time
    until REAL NOT NULL -- Unix time
);
CREATE INDEX history_of_address ON history (ipv4, since, until);
CREATE INDEX history_by_end ON history (until);
CREATE TRIGGER holding_ends AFTER UPDATE ON leases
WHEN old.since IS NOT NULL AND NOT (
    new.since IS NOT NULL AND new.lease_id = old.lease_id AND new.client6 = old.client6
)
BEGIN
    INSERT INTO history VALUES (
        NULL, old.ipv4, old.psid_offset, old.psid_len, old.psid,
        old.client6, old.identity, old.lease_id, old.since,
        max(old.since, iif(old.state = 3, min(old.until, new.written), new.written))
    );
END;
"""
# When the holdings of a file of version 1 began is not known; they count from the upgrade.
FILL_FROM_1: Final = """
INSERT INTO leases
    SELECT ipv4 * 65536, client6, identity, state, lease_id, until, 0, 0, 0,
        iif(state BETWEEN 1 AND 3, unixepoch(), NULL), 0, 0
    FROM leases_1;
DROP TABLE leases_1;
UPDATE schema SET version = 2;
"""

WRITE: Final = """
INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (share) DO UPDATE SET
    client6 = excluded.client6, identity = excluded.identity, state = excluded.state,
    lease_id = excluded.lease_id, until = excluded.until, monotonic = excluded.monotonic,
    boot = excluded.boot, written = excluded.written, psid_offset = excluded.psid_offset,
    psid_len = excluded.psid_len,
    since = iif(
        since IS NOT NULL AND excluded.state BETWEEN 1 AND 3
            AND lease_id = excluded.lease_id AND client6 = excluded.client6,
        since, excluded.since
    )
"""
READ: Final = """
SELECT identity, client6, share, state, lease_id, until, monotonic, boot, written,
    psid_offset, psid_len
FROM leases ORDER BY share
"""


class SchemaError(DstmError):
    """The file is not one of dstm-server, or of a newer one."""


def prepare(db: sqlite3.Connection) -> int:
    """Make the tables, or bring them up to date; return the version that was there, 0 for none."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if not tables:
        _run(db, MARK, TABLES)
        return 0
    if not {"schema", "leases"} <= tables:
        raise SchemaError("an SQLite file, but not one of dstm-server")
    (version,) = db.execute("SELECT version FROM schema").fetchone()
    if version == 1:
        _run(db, "ALTER TABLE leases RENAME TO leases_1;", TABLES, FILL_FROM_1)
    elif version != VERSION:
        raise SchemaError(f"schema version {version}, expected {VERSION} or 1")
    return int(version)


def _run(db: sqlite3.Connection, *scripts: str) -> None:
    """All of `scripts` or none."""
    db.executescript("\n".join(("BEGIN IMMEDIATE;", *scripts, "COMMIT;")))
