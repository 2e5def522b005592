"""The tables of a shared store in PostgreSQL, and how older ones become like new ones.

As in the lease file (`leases.schema`), `leases` has one row per share that was ever lent, and
`history` one per holding that has ended, written by a trigger. Besides, every row has the `version`
at which it was written: transactions that write are one after the other, so versions become visible
in ascending order, and whoever has seen one has seen all before it. `run` is the server run that
wrote the row.

Times are Unix seconds by the clock of the database, the only one that all servers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    import psycopg

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

LOCK: Final = 0x4453544D  # "DSTM": advisory locks of ours; the one-number form is the writer's
ONE_WRITER: Final[LiteralString] = "SELECT pg_advisory_xact_lock(1146311757)"

LEASES: Final[LiteralString] = """
CREATE TABLE dstm_store (version integer NOT NULL, id bytea NOT NULL);
CREATE SEQUENCE dstm_run AS integer;
CREATE SEQUENCE dstm_version;
CREATE TABLE leases (
    share bigint PRIMARY KEY, -- ipv4 * 65536 + psid
    client6 bytea NOT NULL CHECK (length(client6) = 16),
    identity text NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 5),
    lease_id bigint NOT NULL,
    until double precision NOT NULL,
    written double precision NOT NULL,
    run integer NOT NULL,
    version bigint NOT NULL,
    psid_offset smallint NOT NULL,
    psid_len smallint NOT NULL,
    ipv4 bigint NOT NULL GENERATED ALWAYS AS (share >> 16) STORED,
    psid integer NOT NULL GENERATED ALWAYS AS (share & 65535) STORED
);
CREATE INDEX leases_by_version ON leases (version);
CREATE INDEX leases_removing ON leases (run) WHERE state = 3;
INSERT INTO dstm_store VALUES (1, uuid_send(gen_random_uuid()));
"""
HISTORY: Final[LiteralString] = """
ALTER TABLE leases ADD since double precision; -- null: nobody has it
UPDATE leases SET since = extract(epoch FROM now()) WHERE state BETWEEN 1 AND 3;
CREATE TABLE history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ipv4 bigint NOT NULL,
    psid_offset smallint NOT NULL,
    psid_len smallint NOT NULL,
    psid integer NOT NULL,
    client6 bytea NOT NULL,
    identity text NOT NULL,
    lease_id bigint NOT NULL,
    since double precision NOT NULL,
    until double precision NOT NULL
);
CREATE INDEX history_of_address ON history (ipv4, since, until);
CREATE INDEX history_by_end ON history (until);
CREATE FUNCTION holding_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history (
        ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since, until
    ) VALUES (
        old.ipv4, old.psid_offset, old.psid_len, old.psid,
        old.client6, old.identity, old.lease_id, old.since,
        greatest(
            old.since,
            CASE WHEN old.state = 3 THEN least(old.until, new.written) ELSE new.written END
        )
    );
    RETURN NULL;
END $$;
CREATE TRIGGER holding_ends AFTER UPDATE ON leases FOR EACH ROW
WHEN (old.since IS NOT NULL AND NOT (
    new.since IS NOT NULL AND new.lease_id = old.lease_id AND new.client6 = old.client6
))
EXECUTE FUNCTION holding_ends();
UPDATE dstm_store SET version = 2;
"""
STEPS: Final = (LEASES, HISTORY)
"""Step n makes version n out of version n - 1; a step that was released never changes."""
VERSION: Final = len(STEPS)


CLOCK: Final[LiteralString] = """
SELECT extract(epoch FROM clock_timestamp())::float8, last_value FROM dstm_version
"""
READ: Final[LiteralString] = """
SELECT identity, client6, share, state, lease_id, until, written, version, psid_offset, psid_len
FROM leases ORDER BY share
"""
NEWER: Final[LiteralString] = """
SELECT
    ipv4, psid_offset, psid_len, psid, client6, identity, state, lease_id, until, written, version
FROM leases WHERE version > %s ORDER BY version
"""
WHERE_TO_WRITE: Final[LiteralString] = """
SELECT nextval('dstm_version'), (SELECT version FROM dstm_store),
    extract(epoch FROM clock_timestamp())::float8
"""
WRITE: Final[LiteralString] = """
INSERT INTO leases (
    share, psid_offset, psid_len, client6, identity, state, lease_id, until,
    written, since, run, version
)
SELECT share, psid_offset, psid_len, client6, identity, state, lease_id, until,
    %(now)s::float8, CASE WHEN state IN (1, 2) THEN %(now)s::float8 END,
    %(run)s::integer, %(version)s::bigint
FROM unnest(
    %(share)s::bigint[], %(psid_offset)s::smallint[], %(psid_len)s::smallint[],
    %(client6)s::bytea[], %(identity)s::text[], %(state)s::smallint[],
    %(lease_id)s::bigint[], %(until)s::float8[]
) AS row (share, psid_offset, psid_len, client6, identity, state, lease_id, until)
ON CONFLICT (share) DO UPDATE SET
    psid_offset = excluded.psid_offset, psid_len = excluded.psid_len,
    client6 = excluded.client6, identity = excluded.identity, state = excluded.state,
    lease_id = excluded.lease_id, until = excluded.until, written = excluded.written,
    run = excluded.run, version = excluded.version,
    since = CASE
        WHEN leases.since IS NOT NULL AND excluded.state BETWEEN 1 AND 3
            AND leases.lease_id = excluded.lease_id AND leases.client6 = excluded.client6
        THEN leases.since ELSE excluded.since
    END
WHERE leases.version <= %(seen)s
"""
LIVE: Final[LiteralString] = """
SELECT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
ORPHANS: Final[LiteralString] = """
SELECT ipv4, psid, lease_id FROM leases WHERE state = 3 AND run <> ALL (%s)
"""


class PostgresSchemaError(DstmError):
    """The database is not one of dstm-server, or of a newer one."""


def prepare(db: Connection) -> int:
    """Make the tables, or bring them up to date; return the version that was there, 0 for none.

    Servers that start at the same time do so one after the other. One that runs with an older
    schema ends at its next transaction.
    """
    with db.transaction():
        db.execute(ONE_WRITER)
        found = _version(db)
        if found > VERSION:
            text = f"schema version {found}, expected at most {VERSION}: a newer dstm-server's"
            raise PostgresSchemaError(text)
        for step in STEPS[found:]:
            db.execute(step)
    return found


def _version(db: Connection) -> int:
    tables = {
        name
        for (name,) in db.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))"
        )
    }
    if "dstm_store" in tables:
        (version,) = db.execute("SELECT version FROM dstm_store").fetchone() or (0,)
        return int(version)
    if tables & {"leases", "history"}:
        raise PostgresSchemaError("it has tables, but not those of dstm-server")
    return 0
