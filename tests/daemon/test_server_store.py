from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_server
from dstmrouter.config.server import StoreSection
from dstmrouter.daemon.server_store import book_for, check_store, open_history, open_store
from dstmrouter.errors import ConfigError
from dstmrouter.leases.history import LeaseHistory
from dstmrouter.leases.pghistory import PostgresHistory
from dstmrouter.leases.pgstore import PostgresStore
from dstmrouter.leases.shared import SharedBook
from dstmrouter.leases.store import LeaseStore
from tests.daemon.server_process import config_text

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Postgres


def test_a_file_by_default(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(config_text(tmp_path))
    config = load_server(tmp_path / "s.toml")
    check_store(config.store)
    store = open_store(config.store)
    assert isinstance(store, LeaseStore)
    assert not isinstance(book_for(config, store), SharedBook)
    history = open_history(config.store)
    assert isinstance(history, LeaseHistory)
    history.close()
    store.close()


def test_a_database_where_one_is_named(tmp_path: Path, postgres: Postgres) -> None:
    (tmp_path / "s.toml").write_text(config_text(tmp_path, postgresql=postgres.database()))
    config = load_server(tmp_path / "s.toml")
    check_store(config.store)
    for run in (1, 2):
        store = open_store(config.store)
        assert isinstance(store, PostgresStore)
        assert store.run == run
        assert isinstance(book_for(config, store), SharedBook)
        store.close()
    assert isinstance(open_history(config.store), PostgresHistory)


def test_a_password_in_the_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="passfile"):
        check_store(StoreSection(postgresql="host=db password=hunter2"))
