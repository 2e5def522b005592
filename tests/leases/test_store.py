from __future__ import annotations

import dataclasses
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.sharing import Sharing
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore, StoreError, this_boot
from tests.leases.lending import FIRST, TERMS, book_of, client, wish

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.leases.table import LeaseColumns

MONOTONIC = 5000.0


def restarted(
    path: Path, *, wall: float, monotonic: float = MONOTONIC, boot: int = 2
) -> LeaseColumns:
    store = LeaseStore(path, wall=lambda: wall, monotonic=lambda: monotonic, boot=boot)
    try:
        return store.load()
    finally:
        store.close()


def test_what_is_written_is_loaded_in_the_time_of_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "leases.sqlite"
    book = book_of(3)
    store = LeaseStore(path, wall=lambda: 1e9, monotonic=lambda: 100.0, boot=1)
    store.write([book.grant(wish(2, hint=2, identity="ann"), 100.0)])
    store.write([book.grant(wish(1), 100.0), book.offer(wish(3), 100.0)])
    store.close()
    loaded = restarted(path, wall=1e9 + 60)  # a minute later, by another monotonic clock
    assert loaded.ipv4.tolist() == [int(FIRST + n) for n in range(3)]
    assert loaded.client6.tobytes() == b"".join(client(n).packed for n in (1, 3, 2))
    assert loaded.identity == ("", "", "ann")
    assert loaded.state.tolist() == [State.ACTIVE, State.OFFERED, State.ACTIVE]
    assert loaded.lease_id.tolist() == [2, 3, 1]
    assert loaded.until.tolist() == [MONOTONIC + 40, MONOTONIC - 55, MONOTONIC + 40]


@pytest.mark.parametrize(
    ("wall", "boot", "left_s"),
    [
        (1e9 + 60, 1, 40),  # a restart of the server
        (1e9 + 60 + 86400, 1, 40),  # and the wall clock was set meanwhile
        (1e9 + 60 - 86400, 1, 40),
        (1e9 + 60, 2, 40),  # a boot of the machine
        (1e9 + 60 - 86400, 2, 100),  # with a wall clock that was set back
        (1e9 + 60 + 86400, 2, 40 - 86400),
    ],
)
def test_clock_that_was_set_over_a_restart(
    tmp_path: Path, wall: float, boot: int, left_s: float
) -> None:
    path = tmp_path / "leases.sqlite"
    store = LeaseStore(path, wall=lambda: 1e9, monotonic=lambda: 500.0, boot=1)
    store.write([book_of(1).grant(wish(1), 500.0)])
    store.close()
    monotonic = 560.0 if boot == 1 else 30.0
    loaded = restarted(path, wall=wall, monotonic=monotonic, boot=boot)
    assert loaded.until.tolist() == [monotonic + left_s]


def test_runs_of_one_boot_know_each_other() -> None:
    assert this_boot() == this_boot()
    assert 0 < this_boot() < 1 << 63


def test_unknown_boots_are_all_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dstmrouter.leases.store.BOOT_ID", tmp_path / "absent")
    assert this_boot() != this_boot()


def test_the_last_row_of_an_address_counts(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    book = book_of(1)
    lease = book.grant(wish(1), 0.0)
    store = LeaseStore(path)
    store.write([lease, book.release(lease.ipv4)])
    store.close()
    assert restarted(path, wall=0.0).state.tolist() == [State.REMOVING]


@pytest.mark.parametrize("rows_at_once", [1, 2, 5, 100])
def test_port_sets_of_one_address_are_rows_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr("dstmrouter.leases.store.READ_AT_ONCE", rows_at_once)
    path = tmp_path / "leases.sqlite"
    space = AddressSpace([Pool.of("s", [(FIRST, FIRST + 1)], sharing=Sharing(6, 2))])
    book = LeaseBook(space, TERMS)
    wishes = [dataclasses.replace(wish(n), takes_port_set=True) for n in range(5)]
    store = LeaseStore(path)
    store.write([book.grant(each, 0.0) for each in reversed(wishes)])
    store.close()
    loaded = restarted(path, wall=0.0)
    assert loaded.ipv4.tolist() == [int(FIRST)] * 4 + [int(FIRST) + 1]
    assert [column.tolist() for column in loaded.port_sets] == [[6] * 5, [2] * 5, [0, 1, 2, 3, 0]]
    after = LeaseBook(space, TERMS)
    assert after.restore(loaded) == []
    shares = [after.table.get(slot).share for slot in range(5)]
    assert shares == [book.table.get(slot).share for slot in range(5)]
    assert after.lease_of(client(4)) is not None


def test_empty_store_loads_nothing(tmp_path: Path) -> None:
    loaded = restarted(tmp_path / "leases.sqlite", wall=0.0)
    assert len(loaded) == 0
    assert loaded.client6.shape == (0, 2)


def test_restored_book_remembers_order_numbers_and_former_holders(tmp_path: Path) -> None:
    book = book_of(4)
    store = LeaseStore(tmp_path / "leases.sqlite", wall=lambda: 0.0, monotonic=lambda: 0.0)
    for n in (3, 1, 2):
        lease = book.grant(wish(n, hint=n), 0.0)
        book.release(lease.ipv4)
        book.removed(lease.ipv4, lease.lease_id, float(n))
    store.write(book.expire(1000.0))
    after = book_of(4)
    assert after.restore(store.load()) == []
    store.close()
    assert [after.grant(wish(n), 1000.0).ipv4 for n in (8, 9)] == [FIRST, FIRST + 1]
    assert after.grant(wish(3), 1000.0).ipv4 == FIRST + 3
    assert after.grant(wish(10), 1000.0).lease_id == 7


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    store = LeaseStore(tmp_path / "leases.sqlite")
    store.write([book_of(1).grant(wish(1), 0.0)])
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert set(modes) >= {"leases.sqlite", "leases.sqlite-wal", "leases.sqlite.lock"}
    assert set(modes.values()) == {0o600}
    store.close()


def test_second_server_on_the_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    first = LeaseStore(path)
    with pytest.raises(StoreError, match="in use by another dstm-server"):
        LeaseStore(path)
    first.close()
    first.close()
    LeaseStore(path).close()


def test_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="garbage: file is not a database"):
        LeaseStore(garbage)
    foreign = tmp_path / "foreign"
    database = sqlite3.connect(foreign)
    database.execute("CREATE TABLE t (x)")
    database.close()
    with pytest.raises(StoreError, match="not one of dstm-server"):
        LeaseStore(foreign)


def test_other_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    LeaseStore(path).close()
    database = sqlite3.connect(path)
    database.execute("UPDATE schema SET version = 99")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="schema version 99, expected 2 or 1"):
        LeaseStore(path)


def test_write_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    book = book_of(2)
    store = LeaseStore(path)
    good, bad = book.grant(wish(1), 0.0), book.grant(wish(2), 0.0)
    object.__setattr__(bad, "lease_id", "no number" * 2)
    object.__setattr__(bad, "identity", None)
    with pytest.raises(StoreError, match="NOT NULL"):
        store.write([good, bad])
    store.write([])
    store.close()
    assert len(restarted(path, wall=0.0)) == 0


def test_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        LeaseStore(tmp_path / "file" / "leases.sqlite")


GRANTING = """
import sys, time
from dstmrouter.leases.store import LeaseStore
from tests.leases.lending import book_of, wish
from pathlib import Path
store = LeaseStore(Path(sys.argv[1]))
book = book_of(60000)
book.restore(store.load())
for n in range(int(sys.argv[2]), 60000):
    lease = book.grant(wish(n), time.monotonic())
    store.write([lease])
    print(n, int(lease.ipv4), flush=True)  # the promise
"""


def promises_until_killed(path: Path, first: int, count: int) -> dict[int, int]:
    """Clients and addresses that a granting process promised before it was killed."""
    arguments = [sys.executable, "-c", GRANTING, str(path), str(first)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        lines += [line for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    return {int(line.split()[0]): int(line.split()[1]) for line in lines}


def test_kill_in_the_middle_of_grants_loses_no_promise(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    promised: dict[int, int] = {}
    for round_ in range(3):
        promised |= promises_until_killed(path, first=10_000 * round_, count=50 + 37 * round_)
    assert len(set(promised.values())) == len(promised)
    store = LeaseStore(path)
    book = book_of(60000)
    assert book.restore(store.load()) == []
    store.close()
    held = {n: book.lease_of(client(n)) for n in promised}
    assert {n: int(lease.ipv4) for n, lease in held.items() if lease is not None} == promised
    fresh = book.grant(wish(59_999), 0.0)
    assert int(fresh.ipv4) not in promised.values()
    assert np.count_nonzero(book.table.state) >= len(promised) + 1
