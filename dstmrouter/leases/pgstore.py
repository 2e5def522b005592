"""`PostgresStore`: leases in a PostgreSQL database that two or more servers lend from.

A transaction that writes holds one lock (`pg_advisory_xact_lock`), and reads what others have
written since this server last looked before it writes anything. So whoever decides by all that it
has read cannot be wrong, whatever rule it decides by, and transactions never fail for each other.
A commit tells the other servers (NOTIFY).

Clocks: the database's clock is the only one that servers share. Rows carry its time, and are handed
out in monotonic seconds of this machine. Nobody believes that more time is left than there was when
the row was written.
"""

from __future__ import annotations

import contextlib
import time
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, LiteralString, NamedTuple, TypeAlias

import numpy as np
import psycopg

from dstmrouter.leases.lease import Lease
from dstmrouter.leases.pgconnect import checked_conninfo, first_line, unavailable
from dstmrouter.leases.pgschema import LOCK, ONE_WRITER, VERSION, PostgresSchemaError, prepare
from dstmrouter.leases.state import State
from dstmrouter.leases.store import StoreError
from dstmrouter.leases.table import OCTETS6, LeaseColumns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

AsyncConnection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

CHANNEL: Final = "dstm_leases"

CLOCK: Final[LiteralString] = "SELECT extract(epoch FROM clock_timestamp())::float8"
READ: Final[LiteralString] = """
SELECT ipv4, client6, identity, state, lease_id, until, written, version
FROM leases ORDER BY ipv4
"""
NEWER: Final[LiteralString] = """
SELECT ipv4, client6, identity, state, lease_id, until, written, version
FROM leases WHERE version > %s ORDER BY version
"""
WHERE_TO_WRITE: Final[LiteralString] = """
SELECT nextval('dstm_version'), (SELECT version FROM dstm_store),
    extract(epoch FROM clock_timestamp())::float8
"""
WRITE: Final[LiteralString] = """
INSERT INTO leases (
    ipv4, client6, identity, state, lease_id, until, written, since, run, version
)
SELECT ipv4, client6, identity, state, lease_id, until,
    %(now)s::float8, %(now)s::float8, %(run)s::integer, %(version)s::bigint
FROM unnest(
    %(ipv4)s::bigint[], %(client6)s::bytea[], %(identity)s::text[], %(state)s::smallint[],
    %(lease_id)s::bigint[], %(until)s::float8[]
) AS row (ipv4, client6, identity, state, lease_id, until)
ON CONFLICT (ipv4) DO UPDATE SET
    client6 = excluded.client6, identity = excluded.identity, state = excluded.state,
    lease_id = excluded.lease_id, until = excluded.until, written = excluded.written,
    run = excluded.run, version = excluded.version,
    since = CASE
        WHEN leases.state BETWEEN 1 AND 3 AND leases.lease_id = excluded.lease_id
            AND leases.client6 = excluded.client6
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
SELECT ipv4, lease_id FROM leases WHERE state = 3 AND run <> ALL (%s)
"""

Agree: TypeAlias = "Callable[[list[Lease]], Sequence[Lease]]"
"""Takes what others wrote, and returns what is to be written, each address once."""


class _Clock(NamedTuple):
    """The same moment by the database's clock and by ours."""

    unix: float
    monotonic: float

    def until(self, unix: float, written: float) -> float:
        return self.monotonic + min(unix - self.unix, unix - written)


class PostgresStore:
    """The database that `conninfo` names, with its tables made; StoreError when it cannot be used.

    `run` is the number of this server run, `id` that of the store, `seen` the version up to which
    `load`, `newer` and `write` have handed everything out. To be used inside one event loop.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = checked_conninfo(conninfo)
        self._db: AsyncConnection | None = None
        self.seen = 0
        with self._once() as db:
            self.found_version = prepare(db)
            row = db.execute("SELECT nextval('dstm_run'), id FROM dstm_store").fetchone()
            assert row is not None, "made by prepare"
            self.run: int = row[0]
            self.id: bytes = row[1]
            self.name = f"{db.info.host or 'local'}/{db.info.dbname}"

    def load(self) -> LeaseColumns:
        """All stored rows, ascending by address, with monotonic times."""
        with self._once() as db:
            clock = _clock(db.execute(CLOCK).fetchone())
            rows = db.execute(READ).fetchall()
        ipv4, client6, identity, state, lease_id, until, written, version = (
            zip(*rows, strict=True) if rows else ((),) * 8
        )
        self.seen = max(version, default=0)
        unix = np.array(until, np.float64)
        left = np.minimum(unix - clock.unix, unix - np.array(written, np.float64))
        return LeaseColumns(
            ipv4=np.array(ipv4, np.uint32),
            client6=np.frombuffer(b"".join(client6), "<u8").reshape(-1, OCTETS6 // 8),
            state=np.array(state, np.uint8),
            lease_id=np.array(lease_id, np.int64),
            until=clock.monotonic + left,
            identity=tuple(identity),
        )

    async def newer(self) -> list[Lease]:
        """What others stored since `seen`, in the order in which they did."""
        async with self._connected() as db:
            clock = _clock(await (await db.execute(CLOCK)).fetchone())
            return self._handed_out(await self._newer(db), clock)

    async def write(self, agree: Agree) -> list[Lease]:
        """Store what `agree` makes of what others stored; return what is stored now.

        UnavailableError: it is not known whether it was stored. If it was, `newer` hands it out
        later. What `agree` was given, others did store.
        """
        async with self._connected() as db:
            async with db.transaction():
                await db.execute(ONE_WRITER)
                place = await (await db.execute(WHERE_TO_WRITE)).fetchone()
                assert place is not None
                version, schema, unix = place
                clock = _Clock(unix, time.monotonic())
                if schema != VERSION:
                    raise StoreError(f"{self.name}: schema version {schema} by now, not {VERSION}")
                leases = list(agree(self._handed_out(await self._newer(db), clock)))
                if leases:
                    await self._put(db, leases, version, clock)
            if leases:
                self.seen = version
        return leases

    async def live_runs(self, listening: AsyncConnection) -> list[int]:
        """Runs of servers that are connected now, this one among them."""
        return [run for (run,) in await (await listening.execute(LIVE, [LOCK])).fetchall()]

    async def orphans(
        self, listening: AsyncConnection, live: Sequence[int]
    ) -> list[tuple[IPv4Address, int]]:
        """Address and number of leases whose removal was begun by a run that is not `live`."""
        rows = await (await listening.execute(ORPHANS, [list(live)])).fetchall()
        return [(IPv4Address(ipv4), lease_id) for ipv4, lease_id in rows]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncConnection]:
        """A connection that hears of commits; while it lasts, others see that this run lives."""
        with unavailable():
            async with await self._connect() as db:
                await db.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK, self.run])
                await db.execute(f"LISTEN {CHANNEL}")
                yield db

    async def disconnect(self) -> None:
        """Close the connection for writing; the next use opens another."""
        db, self._db = self._db, None
        if db is not None:
            await db.close()

    def close(self) -> None:
        """Nothing is left open outside of the event loop."""

    async def _newer(self, db: AsyncConnection) -> list[tuple[Any, ...]]:
        return await (await db.execute(NEWER, [self.seen])).fetchall()

    def _handed_out(self, rows: list[tuple[Any, ...]], clock: _Clock) -> list[Lease]:
        if rows:
            self.seen = rows[-1][-1]
        return [_lease(clock, row) for row in rows]

    async def _put(
        self, db: AsyncConnection, leases: list[Lease], version: int, clock: _Clock
    ) -> None:
        offset = clock.unix - clock.monotonic
        values = {
            "ipv4": [int(lease.ipv4) for lease in leases],
            "client6": [lease.client6.packed for lease in leases],
            "identity": [lease.identity for lease in leases],
            "state": [int(lease.state) for lease in leases],
            "lease_id": [lease.lease_id for lease in leases],
            "until": [lease.until + offset for lease in leases],
            "now": clock.unix,
            "run": self.run,
            "version": version,
            "seen": self.seen,
        }
        written = (await db.execute(WRITE, values)).rowcount
        if written != len(leases):  # somebody wrote without the lock
            raise StoreError(f"{self.name}: rows changed by something else than a dstm-server")
        await db.execute(f"NOTIFY {CHANNEL}")

    @contextlib.contextmanager
    def _once(self) -> Any:
        try:
            with psycopg.connect(self._conninfo, autocommit=True) as db:
                db.execute("SET statement_timeout = 0")  # a million leases take longer
                yield db
        except (psycopg.Error, PostgresSchemaError) as error:
            raise StoreError(f"PostgreSQL: {first_line(error)}") from None

    async def _connect(self) -> AsyncConnection:
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """The connection for writing; closed after any failure, so that the next use opens one."""
        try:
            with unavailable():
                if self._db is None:
                    self._db = await self._connect()
                yield self._db
        except BaseException:
            await self.disconnect()
            raise


def _clock(row: tuple[Any, ...] | None) -> _Clock:
    assert row is not None
    return _Clock(row[0], time.monotonic())


def _lease(clock: _Clock, row: tuple[Any, ...]) -> Lease:
    ipv4, client6, identity, state, lease_id, until, written, _ = row
    return Lease(
        lease_id=lease_id,
        ipv4=IPv4Address(ipv4),
        client6=IPv6Address(client6),
        identity=identity,
        state=State(state),
        until=clock.until(until, written),
    )
