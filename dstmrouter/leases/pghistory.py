"""`PostgresHistory`: who had which address, and when, from a shared store.

As `leases.history` from the lease file, over a connection of its own, which is opened when it is
needed; UnavailableError when the database is away.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg

from dstmrouter.leases.history import History
from dstmrouter.leases.pgconnect import checked_conninfo, unavailable

# RFC 7597 section 5.1: without A the port belongs to nobody, else k bits of it are the PSID.
AT: Final[LiteralString] = """
SELECT ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since, until FROM (
    SELECT ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since, until
    FROM history
    WHERE ipv4 = %(ipv4)s AND since <= %(at)s AND until > %(at)s
    UNION ALL
    SELECT ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since,
        CASE WHEN until < %(overdue)s THEN until END
    FROM leases
    WHERE share BETWEEN %(ipv4)s::bigint * 65536 AND %(ipv4)s::bigint * 65536 + 65535
        AND since <= %(at)s AND (until > %(at)s OR until >= %(overdue)s)
) AS had
WHERE %(port)s::integer IS NULL OR psid_len = 0 OR (
    (psid_offset = 0 OR %(port)s::integer >> (16 - psid_offset) > 0)
    AND (%(port)s::integer >> (16 - psid_offset - psid_len)) & ((1 << psid_len) - 1) = psid
)
ORDER BY since
"""
ENDED: Final[LiteralString] = """
SELECT id, ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since, until
FROM history WHERE id > %(after)s ORDER BY id LIMIT %(limit)s
"""
LASTING: Final[LiteralString] = """
SELECT share, ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since,
    CASE WHEN until < %(overdue)s THEN until END
FROM leases WHERE share > %(after)s AND since IS NOT NULL ORDER BY share LIMIT %(limit)s
"""
FORGET: Final[LiteralString] = """
DELETE FROM history WHERE id IN (
    SELECT id FROM history WHERE until < %(before)s ORDER BY until LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
"""  # SKIP LOCKED: two servers forget at the same time


class PostgresHistory(History):
    """The history in the database of `conninfo`, which a `PostgresStore` has made."""

    AT, ENDED, LASTING, FORGET = AT, ENDED, LASTING, FORGET

    def __init__(self, conninfo: str) -> None:
        self._conninfo = checked_conninfo(conninfo)
        self._db: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _run(
        self, statement: LiteralString, **values: float | None
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            with unavailable():
                if self._db is None:
                    self._db = psycopg.connect(self._conninfo, autocommit=True)
                return self._db.execute(statement, values)
        except Exception:
            self.close()  # the next question opens another
            raise
