"""`LeaseHistory`: who had which address, and when; read from the lease file while it is written.

It has a connection of its own, so that a long export never holds up a lease (readers do not block
writers in WAL mode). What is written and when, `leases.schema` says.
"""

from __future__ import annotations

import abc
import dataclasses
import sqlite3
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, ClassVar, Final, LiteralString

from dstmrouter.leases.store import StoreError
from dstmrouter.protocols.granted import PortSet

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS: Final[LiteralString] = (
    "ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since"
)
# RFC 7597 section 5.1: without A the port belongs to nobody, else k bits of it are the PSID.
HAS_PORT: Final[LiteralString] = """(:port IS NULL OR psid_len = 0 OR (
    (psid_offset = 0 OR :port >> (16 - psid_offset) > 0)
    AND (:port >> (16 - psid_offset - psid_len)) & ((1 << psid_len) - 1) = psid
))"""
AT: Final[LiteralString] = f"""
SELECT {COLUMNS}, until FROM history
WHERE ipv4 = :ipv4 AND since <= :at AND until > :at AND {HAS_PORT}
UNION ALL
SELECT {COLUMNS}, iif(until < :overdue, until, NULL) FROM leases
WHERE share BETWEEN :ipv4 * 65536 AND :ipv4 * 65536 + 65535 AND since <= :at
    AND (until > :at OR until >= :overdue) AND {HAS_PORT}
ORDER BY since
"""  # noqa: S608 - constants
ENDED: Final[LiteralString] = f"""
SELECT id, {COLUMNS}, until FROM history WHERE id > :after ORDER BY id LIMIT :limit
"""  # noqa: S608 - constants
LASTING: Final[LiteralString] = f"""
SELECT share, {COLUMNS}, iif(until < :overdue, until, NULL) FROM leases
WHERE share > :after AND since IS NOT NULL ORDER BY share LIMIT :limit
"""  # noqa: S608 - constants
FORGET: Final[LiteralString] = """
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
    """`client6` had a share from `since` to `until`, in Unix time; None: it still has."""

    ipv4: IPv4Address
    port_set: PortSet | None  # None: the whole address
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


class History(abc.ABC):
    """The questions, whatever keeps the answers; the statements have named values.

    Any thread may use it, but not two at the same time.
    """

    AT: ClassVar[LiteralString]  # ipv4, at, port, overdue
    ENDED: ClassVar[LiteralString]  # after, limit
    LASTING: ClassVar[LiteralString]  # after, limit, overdue
    FORGET: ClassVar[LiteralString]  # before, limit

    @abc.abstractmethod
    def close(self) -> None:
        """Close the file or connection; a second call does nothing."""

    def holders(
        self, ipv4: IPv4Address, at: float, *, now: float, port: int | None = None
    ) -> list[Holding]:
        """Who had `ipv4`, or the port set of it that `port` is in, at Unix time `at`.

        For one port it is more than one holder only where clocks were set back.
        """
        values = {"ipv4": int(ipv4), "at": at, "port": port, "overdue": now - OVERDUE_S}
        rows = self._run(self.AT, **values).fetchall()
        return [holding(*row) for row in rows]

    def ended(self, after: int, limit: int) -> Page:
        """Holdings that have ended, in the order of their end; begin with `after` 0."""
        return page(self._run(self.ENDED, after=after, limit=limit).fetchall(), limit)

    def lasting(self, after: int, limit: int, *, now: float) -> Page:
        """Holdings that last, by address; begin with `after` -1."""
        rows = self._run(self.LASTING, after=after, limit=limit, overdue=now - OVERDUE_S).fetchall()
        return page(rows, limit)

    def forget(self, before: float, limit: int) -> int:
        """Remove at most `limit` of the holdings that ended `before`; return how many."""
        gone: int = self._run(self.FORGET, before=before, limit=limit).rowcount
        return gone

    @abc.abstractmethod
    def _run(self, statement: LiteralString, **values: float | None) -> Any:
        """Carry out a statement; the cursor."""


class LeaseHistory(History):
    """The history in the file at `path`, which a `LeaseStore` has made; StoreError if it cannot."""

    AT, ENDED, LASTING, FORGET = AT, ENDED, LASTING, FORGET

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._run("PRAGMA synchronous = NORMAL")  # forgetting need not survive a power failure

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._db.close()

    def _run(self, statement: LiteralString, **values: float | None) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None


def page(rows: list[tuple[Any, ...]], limit: int) -> Page:
    """Rows of at most `limit`, each behind the key that asks for what follows it."""
    after = int(rows[-1][0]) if len(rows) == limit else None
    return Page([holding(*row[1:]) for row in rows], after)


def holding(*row: Any) -> Holding:
    """A holding from its columns as stores keep them."""
    ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since, until = row
    ports = PortSet(psid_offset=psid_offset, psid_len=psid_len, psid=psid) if psid_len else None
    return Holding(
        ipv4=IPv4Address(ipv4),
        port_set=ports,
        client6=IPv6Address(client6),
        identity=identity,
        lease_id=lease_id,
        since=since,
        until=until,
    )
