from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dstmrouter.leases import pgschema
from dstmrouter.leases.pgschema import (
    LOCK,
    ONE_WRITER,
    STEPS,
    VERSION,
    PostgresSchemaError,
    prepare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.postgres import Postgres

LAYOUT = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT event_object_table, trigger_name, action_condition, '', ''
FROM information_schema.triggers
ORDER BY 1, 2, 3
"""
ROW_OF_VERSION_1 = """
INSERT INTO leases (
    share, psid_offset, psid_len, client6, identity, state, lease_id, until, written, run, version
) VALUES (
    7 * 65536, 0, 0, decode(repeat('00', 16), 'hex'), 'ann', 2, 3, 1e9, 5e8, 1,
    nextval('dstm_version')
)
"""


@pytest.fixture
def db(postgres: Postgres) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(postgres.database(), autocommit=True) as connection:
        yield connection


def layout(db: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return db.execute(LAYOUT).fetchall()


def test_the_lock_is_ours() -> None:
    assert f"({LOCK})" in ONE_WRITER


def test_tables_are_made_once(db: psycopg.Connection[tuple[Any, ...]]) -> None:
    assert prepare(db) == 0
    made = layout(db)
    assert prepare(db) == VERSION
    assert layout(db) == made
    ((version, store_id),) = db.execute("SELECT version, id FROM dstm_store").fetchall()
    assert (version, len(store_id)) == (VERSION, 16)


def test_a_store_of_version_1_is_brought_up_to_date_and_loses_nothing(
    postgres: Postgres, db: psycopg.Connection[tuple[Any, ...]]
) -> None:
    db.execute(STEPS[0])
    db.execute(ROW_OF_VERSION_1)
    assert prepare(db) == 1
    with psycopg.connect(postgres.database(), autocommit=True) as other:
        prepare(other)
        assert layout(db) == layout(other)
    ((identity, since, now),) = db.execute(
        "SELECT identity, since, extract(epoch FROM now())::float8 FROM leases"
    ).fetchall()
    assert identity == "ann"
    assert now - 60 < since <= now  # when it began is not known: it counts from the upgrade
    db.execute("UPDATE leases SET state = 4, since = NULL, written = 2e9")
    assert db.execute("SELECT ipv4, until FROM history").fetchall() == [(7, 2e9)]


def test_an_upgrade_that_fails_changes_nothing(
    db: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgschema, "STEPS", (STEPS[0], "CREATE TABLE t (x int); SELECT 1 / 0"))
    with pytest.raises(psycopg.Error, match="division by zero"):
        prepare(db)
    assert layout(db) == []


def test_other_databases_are_refused(db: psycopg.Connection[tuple[Any, ...]]) -> None:
    db.execute("CREATE TABLE leases (x int)")
    with pytest.raises(PostgresSchemaError, match="not those of dstm-server"):
        prepare(db)


def test_a_newer_schema_is_refused(db: psycopg.Connection[tuple[Any, ...]]) -> None:
    prepare(db)
    db.execute("UPDATE dstm_store SET version = 99")
    with pytest.raises(PostgresSchemaError, match="schema version 99, expected at most 2"):
        prepare(db)


def test_servers_that_start_together_make_the_tables_once(postgres: Postgres) -> None:
    conninfo, found = postgres.database(), []

    def start() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            found.append(prepare(connection))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, *[VERSION] * 5]
