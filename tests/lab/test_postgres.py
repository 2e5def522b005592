from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from lab import postgres
from lab.netns import LabError
from lab.postgres import Postgres, program, running

if TYPE_CHECKING:
    from pathlib import Path

needs_postgresql = pytest.mark.skipif(program("postgres") is None, reason="needs PostgreSQL")


def setting(server: Postgres, name: str) -> str:
    with psycopg.connect(server.database()) as db:
        row = db.execute(f"SHOW {name}".encode()).fetchone()
    assert row is not None
    return str(row[0])


@needs_postgresql
@pytest.mark.parametrize("durable", [True, False])
def test_it_waits_for_the_disk_if_wanted_and_goes_with_its_directory(durable: bool) -> None:
    with running(durable=durable) as server:
        assert setting(server, "fsync") == ("on" if durable else "off")
        assert setting(server, "synchronous_commit") == "on"
        assert server.database() != server.database()
    assert not server.home.exists()


def test_a_machine_without_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "program", lambda _name: None)
    with pytest.raises(LabError, match="package postgresql is not installed"):
        Postgres(tmp_path)
