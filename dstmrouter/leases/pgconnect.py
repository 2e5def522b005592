"""How the database of a shared store is reached, and what it means when it is not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dstmrouter.errors import ConfigError, LeaseError
from dstmrouter.leases.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_S: Final = 5
STALL_MS: Final = 10_000  # a server that stops in the middle must not keep the lock for longer
PARAMETERS: Final[dict[str, str | int]] = {
    "connect_timeout": CONNECT_S,
    "application_name": "dstm-server",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": STALL_MS,
    "options": f"-c idle_in_transaction_session_timeout={STALL_MS} -c lock_timeout={STALL_MS}"
    f" -c statement_timeout={STALL_MS} -c synchronous_commit=on",
}
AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, soon perhaps not any more
    OSError,
)


class UnavailableError(LeaseError):
    """The database does not answer; nothing can be promised for the time being."""

    def __init__(self, text: str) -> None:
        super().__init__("try-again", f"the lease database is away, try again in 5 s: {text}")
        self.text = text


def checked_conninfo(conninfo: str) -> str:
    """`conninfo` with our own parameters; ConfigError for what libpq cannot read or a password."""
    expected = "expected a libpq connection string without a password, which belongs into passfile"
    try:
        found = conninfo_to_dict(conninfo)
    except psycopg.Error:  # its text may hold the password
        raise ConfigError(f"[store] postgresql: {expected}") from None
    if "password" in found:
        raise ConfigError(f"[store] postgresql: {expected}")
    return make_conninfo(conninfo, **{key: PARAMETERS[key] for key in PARAMETERS.keys() - found})


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """A database that does not answer is no reason to end; one that says no to our SQL is."""
    try:
        yield
    except AWAY as error:
        raise UnavailableError(first_line(error)) from None
    except psycopg.Error as error:
        raise StoreError(f"PostgreSQL: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """One line of an error of PostgreSQL, which has several."""
    return (str(error).splitlines() or [type(error).__name__])[0]
