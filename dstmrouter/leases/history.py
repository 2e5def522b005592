"""`LeaseHistory`: who had which address, and when; read from the lease file while it is written.

It has a connection of its own, so that a long export never holds up a lease (readers do not block
writers in WAL mode). What is written and when, `leases.schema` says.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.leases.store import StoreError

if TYPE_CHECKING:
    from pathlib import Path

AT: Final = """
SELECT ipv4, client6, identity, lease_id, since, until FROM history
WHERE ipv4 = :ipv4 AND since <= :at AND until > :at
UNION ALL
SELECT ipv4, client6, identity, lease_id, since, iif(until < :overdue, until, NULL) FROM leases
WHERE ipv4 = :ipv4 AND since <= :at AND state BETWEEN 1 AND 3
    AND (until > :at OR until >= :overdue)
ORDER BY since
"""
ENDED: Final = """
SELECT id, ipv4, client6, identity, lease_id, since, until FROM history
WHERE id > :after ORDER BY id LIMIT :limit
"""
LASTING: Final = """
SELECT ipv4, ipv4, client6, identity, lease_id, since, iif(until < :overdue, until, NULL)
FROM leases WHERE ipv4 > :after AND state BETWEEN 1 AND 3 ORDER BY ipv4 LIMIT :limit
"""
FORGET: Final = """
DELETE FROM history WHERE id IN (
    SELECT id FROM history WHERE until < :before ORDER BY until LIMIT :limit
)
"""

OVERDUE_S: Final = 86_400  # no grace is longer
"""A lease whose end is longer ago is of an address that was taken out of all pools.

Nobody moves its row on until the pool comes back, so what ended it is its lifetime.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """`client6` had `ipv4` from `since` to `until`, in Unix time; None: it still has."""

    ipv4: IPv4Address
    client6: IPv6Address
    identity: str
    lease_id: int
    since: float
    until: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Holdings, and what to ask for next; None: there is no more."""

    holdings: list[Holding]
    after: int | None


class LeaseHistory:
    """The history in the file at `path`, which a `LeaseStore` has made; StoreError if it cannot.

    Any thread may use it, but not two at the same time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._run("PRAGMA synchronous = NORMAL")  # forgetting need not survive a power failure

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._db.close()

    def holders(self, ipv4: IPv4Address, at: float, *, now: float) -> list[Holding]:
        """Who had `ipv4` at Unix time `at`; more than one only where clocks were set back."""
        rows = self._run(AT, ipv4=int(ipv4), at=at, overdue=now - OVERDUE_S).fetchall()
        return [holding(*row) for row in rows]

    def ended(self, after: int, limit: int) -> Page:
        """Holdings that have ended, in the order of their end; begin with `after` 0."""
        return page(self._run(ENDED, after=after, limit=limit).fetchall(), limit)

    def lasting(self, after: int, limit: int, *, now: float) -> Page:
        """Holdings that last, by address; begin with `after` -1."""
        rows = self._run(LASTING, after=after, limit=limit, overdue=now - OVERDUE_S).fetchall()
        return page(rows, limit)

    def forget(self, before: float, limit: int) -> int:
        """Remove at most `limit` of the holdings that ended `before`; return how many."""
        return self._run(FORGET, before=before, limit=limit).rowcount

    def _run(self, statement: str, **values: float) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None


def page(rows: list[tuple[Any, ...]], limit: int) -> Page:
    """Rows of at most `limit`, each behind the key that asks for what follows it."""
    after = int(rows[-1][0]) if len(rows) == limit else None
    return Page([holding(*row[1:]) for row in rows], after)


def holding(
    ipv4: int, client6: bytes, identity: str, lease_id: int, since: float, until: float | None
) -> Holding:
    """A holding from its columns as stores keep them."""
    return Holding(
        ipv4=IPv4Address(ipv4),
        client6=IPv6Address(client6),
        identity=identity,
        lease_id=lease_id,
        since=since,
        until=until,
    )
