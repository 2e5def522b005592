from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dstmrouter.errors import ConfigError
from dstmrouter.leases.pgconnect import UnavailableError, checked_conninfo, first_line, unavailable
from dstmrouter.leases.store import StoreError


@pytest.mark.parametrize(
    "conninfo",
    ["password=hunter2", "host=db password = 'hunter2'", "postgresql://u:hunter2@db/d", "hunter2"],
)
def test_passwords_and_nonsense_are_refused_and_not_repeated(conninfo: str) -> None:
    with pytest.raises(ConfigError, match="which belongs into passfile") as refused:
        checked_conninfo(conninfo)
    assert "hunter2" not in str(refused.value)


def test_what_the_operator_says_counts_and_the_rest_is_ours() -> None:
    found = conninfo_to_dict(checked_conninfo("host=db dbname=d passfile=/p connect_timeout=60"))
    assert (found["host"], found["passfile"], found["connect_timeout"]) == ("db", "/p", "60")
    assert "idle_in_transaction_session_timeout" in str(found["options"])


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (psycopg.OperationalError("gone\nreally"), UnavailableError),
        (psycopg.errors.AdminShutdown("gone"), UnavailableError),
        (psycopg.errors.ReadOnlySqlTransaction("gone"), UnavailableError),
        (psycopg.errors.IdleInTransactionSessionTimeout("gone"), UnavailableError),
        (ConnectionResetError("gone"), UnavailableError),
        (psycopg.errors.UndefinedTable("gone"), StoreError),
    ],
)
def test_a_database_that_is_away_and_one_that_says_no(
    raised: Exception, becomes: type[Exception]
) -> None:
    with pytest.raises(becomes, match=r"gone$"), unavailable():
        raise raised


def test_clients_are_told_to_try_again() -> None:
    error = UnavailableError("no route")
    assert error.reason == "try-again"
    assert "try again in 5 s" in str(error)


def test_an_error_without_text_has_its_name() -> None:
    assert first_line(TimeoutError()) == "TimeoutError"
