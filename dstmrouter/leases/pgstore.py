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
import numpy.typing as npt
import psycopg

from dstmrouter.leases.lease import Lease
from dstmrouter.leases.pgconnect import checked_conninfo, first_line, unavailable
from dstmrouter.leases.pgschema import (
    CLOCK,
    LIVE,
    LOCK,
    NEWER,
    ONE_WRITER,
    ORPHANS,
    READ,
    VERSION,
    WHERE_TO_WRITE,
    WRITE,
    PostgresSchemaError,
    prepare,
)
from dstmrouter.leases.pool import PortSets
from dstmrouter.leases.state import State
from dstmrouter.leases.store import PSID_BITS, PSID_MASK, READ_AT_ONCE, StoreError
from dstmrouter.leases.table import OCTETS6, LeaseColumns
from dstmrouter.protocols.granted import PortSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from dstmrouter.leases.lease import Share

AsyncConnection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

CHANNEL: Final = "dstm_leases"

READ_TYPES: Final = (
    *(np.int64, np.uint8, np.int64, np.float64, np.float64, np.int64),
    *(np.uint8, np.uint8),
)
"""Of what `READ` selects after identity and client6."""
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
        """All stored rows, ascending by address and PSID, with monotonic times."""
        parts: list[list[npt.NDArray[Any]]] = []
        identities: list[str] = []
        with self._once() as db:
            unix, _ = db.execute(CLOCK).fetchone() or (0.0, 0)
            clock = _Clock(unix, time.monotonic())
            cursor = db.execute(READ)
            while rows := cursor.fetchmany(READ_AT_ONCE):
                identity, octets, *numbers = zip(*rows, strict=True)
                identities += identity
                parts.append([np.frombuffer(b"".join(octets), "<u8").reshape(-1, OCTETS6 // 8)])
                parts[-1] += [np.array(*each) for each in zip(numbers, READ_TYPES, strict=True)]
        nothing = [np.zeros((0, 2), "<u8"), *(np.zeros(0, kind) for kind in READ_TYPES)]
        columns = [np.concatenate(column) for column in zip(nothing, *parts, strict=True)]
        client6, share, state, lease_id, until, written, version, offset, length = columns
        self.seen = int(version.max(initial=0))
        return LeaseColumns(
            ipv4=(share >> PSID_BITS).astype(np.uint32),
            client6=client6,
            state=state,
            lease_id=lease_id,
            until=clock.monotonic + np.minimum(until - clock.unix, until - written),
            identity=tuple(identities),
            port_sets=PortSets(offset, length, (share & PSID_MASK).astype(np.uint16)),
        )

    async def newer(self) -> list[Lease]:
        """What others stored since `seen`, in the order in which they did."""
        async with self._connected() as db:
            unix, version = await _one(db, CLOCK)
            clock = _Clock(unix, time.monotonic())
            self._check_version(version)
            return self._handed_out(await self._newer(db), clock)

    async def write(self, agree: Agree) -> list[Lease]:
        """Store what `agree` makes of what others stored; return what is stored now.

        UnavailableError: it is not known whether it was stored. If it was, `newer` hands it out
        later. What `agree` was given, others did store.
        """
        async with self._connected() as db:
            async with db.transaction():
                await db.execute(ONE_WRITER)
                version, schema, unix = await _one(db, WHERE_TO_WRITE)
                clock = _Clock(unix, time.monotonic())
                self._check_version(version)
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
    ) -> list[tuple[Share, int]]:
        """Share and number of leases whose removal was begun by a run that is not `live`."""
        rows = await (await listening.execute(ORPHANS, [list(live)])).fetchall()
        return [((IPv4Address(ipv4), psid), lease_id) for ipv4, psid, lease_id in rows]

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

    def _check_version(self, version: int) -> None:
        """Find out that a standby without our last commits has taken over, or a backup."""
        if version < self.seen:
            raise StoreError(f"{self.name}: version {version} after {self.seen}: it lost commits")

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
            "share": [int(lease.ipv4) << PSID_BITS | lease.psid for lease in leases],
            "psid_offset": [ports.psid_offset if (ports := one.port_set) else 0 for one in leases],
            "psid_len": [ports.psid_len if (ports := one.port_set) else 0 for one in leases],
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


async def _one(db: AsyncConnection, statement: LiteralString) -> tuple[Any, ...]:
    row = await (await db.execute(statement)).fetchone()
    assert row is not None
    return row


def _lease(clock: _Clock, row: tuple[Any, ...]) -> Lease:
    ipv4, offset, length, psid, client6, identity, state, lease_id, until, written, _ = row
    ports = PortSet(psid_offset=offset, psid_len=length, psid=psid) if length else None
    return Lease(
        lease_id=lease_id,
        ipv4=IPv4Address(ipv4),
        client6=IPv6Address(client6),
        identity=identity,
        state=State(state),
        until=clock.until(until, written),
        port_set=ports,
    )
