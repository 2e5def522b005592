"""What is PostgreSQL's own; the rest is in test_history, for both stores."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from dstmrouter.leases.pgconnect import UnavailableError
from dstmrouter.leases.pghistory import AT, FORGET, PostgresHistory
from tests.leases.lending import FIRST
from tests.leases.recorded import NOW, SharedRecorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.postgres import Postgres


@pytest.fixture
def shared(postgres: Postgres) -> Iterator[SharedRecorded]:
    made = SharedRecorded(postgres.database())
    yield made
    made.close()


def test_look_ups_use_an_index(shared: SharedRecorded) -> None:
    shared.db.execute(
        "INSERT INTO history "
        "(ipv4, psid_offset, psid_len, psid, client6, identity, lease_id, since, until) "
        "SELECT i % 500, 0, 0, 0, decode(repeat('00', 16), 'hex'), '', i, i, i + 30 "
        "FROM generate_series(1, 20000) AS i"
    )
    shared.db.execute("ANALYZE history")
    for statement in (AT, FORGET):
        values = {"ipv4": 1, "at": 1.0, "before": 1.0, "limit": 1, "overdue": 1.0, "port": 1}
        plan = [line for (line,) in shared.db.execute(b"EXPLAIN " + statement.encode(), values)]
        assert any("history_of_address" in line or "history_by_end" in line for line in plan), plan
        assert not any("Seq Scan on history" in line for line in plan), plan


def test_two_servers_forget_at_the_same_time(shared: SharedRecorded) -> None:
    for number in range(1, 40):
        shared.holding(0, number, number, number + 0.5)
    gone: list[int] = []

    def forget() -> None:
        history = PostgresHistory(shared.db.info.dsn)
        while batch := history.forget(NOW, 2):
            gone.append(batch)
        history.close()

    threads = [threading.Thread(target=forget) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(gone) == 39
    assert shared.names(0, 10.2) == []


def test_a_connection_that_was_lost_is_opened_again(
    postgres: Postgres, shared: SharedRecorded
) -> None:
    shared.holding(0, 1, 100)
    assert shared.names(0, 150) == ["user1"]
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    with pytest.raises(UnavailableError):
        shared.history.holders(FIRST, 150, now=NOW)
    assert shared.names(0, 150) == ["user1"]
