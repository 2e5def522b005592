"""`LeaseStore`: leases in an SQLite file, on disk before they are promised.

WAL with `synchronous=FULL`: `write` returns after the log was forced to disk, so a promised lease
outlives kill -9 and power failure (sqlite.org/wal.html). Rows stay when an address is free again,
because a client may come back for the address that it held last.

Times are kept by the wall clock and by the monotonic one, and handed out as monotonic seconds; what
they mean after a restart, `leases.times` says. The wall clock is read afresh each time, so that a
corrected clock is believed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.errors import DstmError
from dstmrouter.leases.pool import PortSets
from dstmrouter.leases.schema import READ, SchemaError, prepare, write_rows
from dstmrouter.leases.table import OCTETS6, LeaseColumns
from dstmrouter.leases.times import Moment, StoredTimes, restored_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstmrouter.leases.lease import Lease

PSID_BITS: Final = 16  # of the key, see `leases.schema`
PSID_MASK: Final = (1 << PSID_BITS) - 1
READ_AT_ONCE: Final = 65_536  # rows; as Python objects they take ten times the memory
READ_TYPES: Final = (
    *(np.int64, np.uint8, np.int64, np.float64, np.float64, np.int64, np.float64),
    *(np.uint8, np.uint8),
)
"""Of what `READ` selects after identity and client6."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
TIME_NAMESPACE: Final = Path(
    "/proc/self/ns/time"
)  # a container may have a monotonic clock of its own

ROWS_AT_ONCE: Final = 100
"""Rows of one statement: SQLite takes 3,200 values or more, and keeps what it has compiled."""


class StoreError(DstmError):
    """The lease file cannot be opened, read or written."""


class LeaseStore:
    """The file at `path`, made when it does not exist; one process at a time.

    Not for use by two threads at the same time; any one thread may use it.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        boot: int | None = None,
    ) -> None:
        self.path = path
        self.name = str(path)
        self._boot = this_boot() if boot is None else boot
        self._wall = wall
        self._monotonic = monotonic
        with ExitStack() as undo:
            undo.callback(os.close, _lock(path))
            try:
                os.close(_open(path))  # who holds which address is nobody else's business
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(self._db.close)
                self._prepare()
            except sqlite3.Error as error:
                raise StoreError(f"{path}: {error}") from None
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Close the file and let others have it; a second call does nothing."""
        self._undo.close()

    def load(self) -> LeaseColumns:
        """All stored rows, ascending by address and PSID, with monotonic times."""
        parts: list[list[npt.NDArray[Any]]] = []
        identities: list[str] = []
        try:
            cursor = self._db.execute(READ)
            while rows := cursor.fetchmany(READ_AT_ONCE):
                identity, client6, *numbers = zip(*rows, strict=True)
                identities += identity
                parts.append([np.frombuffer(b"".join(client6), "<u8").reshape(-1, OCTETS6 // 8)])
                parts[-1] += [np.array(*each) for each in zip(numbers, READ_TYPES, strict=True)]
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None
        return self._columns(parts, tuple(identities))

    def _columns(
        self, parts: list[list[npt.NDArray[Any]]], identities: tuple[str, ...]
    ) -> LeaseColumns:
        nothing = [np.zeros((0, 2), "<u8"), *(np.zeros(0, kind) for kind in READ_TYPES)]
        columns = [np.concatenate(column) for column in zip(nothing, *parts, strict=True)]
        client6, share, state, lease_id, unix, monotonic, boot, written, offset, length = columns
        return LeaseColumns(
            ipv4=(share >> PSID_BITS).astype(np.uint32),
            client6=client6,
            state=state,
            lease_id=lease_id,
            until=restored_until(StoredTimes(unix, monotonic, boot, written), self._first),
            identity=identities,
            port_sets=PortSets(offset, length, (share & PSID_MASK).astype(np.uint16)),
        )

    def write(self, leases: Sequence[Lease]) -> None:
        """Put rows on disk, all or none, in their order; on disk when this returns.

        The history of who held which address is kept with them, see `leases.schema`.
        """
        now = self._now()
        rows = [_row(lease, now) for lease in leases]
        try:
            with _Transaction(self._db):
                for first in range(0, len(rows), ROWS_AT_ONCE):
                    some = rows[first : first + ROWS_AT_ONCE]
                    self._db.execute(write_rows(len(some)), list(chain.from_iterable(some)))
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None

    def _now(self) -> Moment:
        return Moment(self._wall(), self._monotonic(), self._boot)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        try:
            self.found_version = prepare(self._db)
        except SchemaError as error:
            raise StoreError(f"{self.path}: {error}") from None
        self._first = self._first_of_boot()

    def _first_of_boot(self) -> Moment:
        """When the file was first opened in this boot: all runs in it count from there."""
        found = self._db.execute("SELECT unix, monotonic, number FROM boot").fetchone()
        if found is not None and found[2] == self._boot:
            return Moment(*found)
        now = self._now()
        with _Transaction(self._db):
            self._db.execute("DELETE FROM boot")
            self._db.execute("INSERT INTO boot (unix, monotonic, number) VALUES (?, ?, ?)", now)
        return now


def _row(lease: Lease, now: Moment) -> tuple[object, ...]:
    ports = lease.port_set
    share, offset, length = int(lease.ipv4) << PSID_BITS, 0, 0
    if ports is not None:
        share, offset, length = share | ports.psid, ports.psid_offset, ports.psid_len
    return (
        share,
        lease.client6.packed,
        lease.identity,
        int(lease.state),
        lease.lease_id,
        lease.until + now.unix - now.monotonic,
        lease.until,
        now.boot,
        now.unix,
        now.unix if lease.bound else None,
        offset,
        length,
    )


def this_boot() -> int:
    """A number for the time since the machine was booted: the same for all runs in it.

    Where it is not known, it is random: no run takes the monotonic clock of another for its own.
    """
    try:
        told = BOOT_ID.read_bytes() + os.readlink(TIME_NAMESPACE).encode()
    except OSError:
        told = os.urandom(16)
    return int.from_bytes(hashlib.blake2b(told, digest_size=7).digest(), "big")


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the body raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _lock(path: Path) -> int:
    """Hold `PATH.lock`: SQLite's own locks would also keep readers (a backup) out."""
    lock_path = path.with_name(path.name + ".lock")
    fd = _open(lock_path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        busy = isinstance(error, BlockingIOError)
        why = "in use by another dstm-server" if busy else error.strerror
        raise StoreError(f"{path}: {why}") from None
    return fd


def _open(path: Path) -> int:
    """A descriptor of `path`; a file that is made is for its owner alone, like SQLite's others."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
