from __future__ import annotations

import sqlite3
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.leases.history import AT, FORGET, OVERDUE_S, Holding, LeaseHistory
from dstmrouter.leases.state import State
from dstmrouter.leases.store import StoreError
from dstmrouter.protocols.granted import PortSet
from tests.leases.lending import FIRST, client
from tests.leases.recorded import NOW, Recorded, SharedRecorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[Recorded]:
    made = Recorded(tmp_path / "leases.sqlite")
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorded]:
    if request.param == "sqlite":
        made = Recorded(tmp_path / "leases.sqlite")
    else:
        made = SharedRecorded(request.getfixturevalue("postgres").database())
    yield made
    made.close()


def test_holder_of_a_moment(recorded: Recorded) -> None:
    recorded.holding(0, 1, 100, 200)
    recorded.holding(1, 2, 100, 300)
    recorded.holding(0, 3, 250)
    found = {at: recorded.names(0, at) for at in (99.9, 100, 199.9, 200, 249.9, 250, 1e9)}
    assert found == {
        99.9: [],
        100: ["user1"],
        199.9: ["user1"],
        200: [],
        249.9: [],
        250: ["user3"],
        1e9: ["user3"],
    }
    assert recorded.names(2, 150) == []
    assert recorded.history.holders(FIRST, 150, now=NOW) == [
        Holding(
            ipv4=FIRST,
            port_set=None,
            client6=client(1),
            identity="user1",
            lease_id=1,
            since=100,
            until=200,
        )
    ]


def test_removing_still_counts_and_held_does_not(recorded: Recorded) -> None:
    recorded.write(100, 0, 1, State.OFFERED)
    recorded.write(110, 0, 1, State.ACTIVE)
    recorded.write(120, 0, 1, State.REMOVING)
    assert [one.until for one in recorded.history.holders(FIRST, 130, now=NOW)] == [None]
    recorded.write(140, 0, 1, State.HELD)
    assert [one.since for one in recorded.history.holders(FIRST, 130, now=NOW)] == [100]
    assert recorded.names(0, 141) == []


def test_a_lease_of_an_address_in_no_pool_ends_with_its_lifetime(recorded: Recorded) -> None:
    """Its row stays as it was: no book knows it."""
    recorded.holding(0, 1, 100)
    end = 1e12 + 100
    later = end + OVERDUE_S + 1
    for now, until in ((end, None), (later, end)):
        (lasting,) = recorded.history.lasting(-1, 9, now=now).holdings
        (holder,) = recorded.history.holders(FIRST, end - 1, now=now)
        assert lasting.until == holder.until == until
    assert recorded.history.holders(FIRST, end + 1, now=later) == []


def test_a_port_names_its_port_set(recorded: Recorded) -> None:
    """RFC 7597 section 5.1: with a = 6 and k = 8, port 1232 is of PSID 0x34, and 1236 of 0x35."""
    for number, psid in ((1, 0x34), (2, 0x35), (3, 0x00)):
        for unix, state in ((100, State.ACTIVE), (200, State.QUARANTINE)):
            recorded.write(unix, 0, number, state, PortSet(psid_offset=6, psid_len=8, psid=psid))
    recorded.write(150, 0, 4, State.ACTIVE, PortSet(psid_offset=6, psid_len=8, psid=0x36))
    at_port = {
        port: [one.identity for one in recorded.history.holders(FIRST, 160, now=NOW, port=port)]
        for port in (0, 1023, 1024, 1231, 1232, 1235, 1236, 1240, 64720, 65535)
    }
    assert at_port == {
        0: [],
        1023: [],
        1024: ["user3"],
        1231: [],
        1232: ["user1"],
        1235: ["user1"],
        1236: ["user2"],
        1240: ["user4"],
        64720: ["user1"],
        65535: [],
    }
    everybody = recorded.history.holders(FIRST, 160, now=NOW)
    assert sorted(one.port_set.psid for one in everybody if one.port_set) == [0, 0x34, 0x35, 0x36]
    assert [one.identity for one in recorded.history.holders(FIRST, 210, now=NOW)] == ["user4"]
    recorded.holding(1, 5, 100)
    assert len(recorded.history.holders(FIRST + 1, 160, now=NOW, port=80)) == 1


def test_pages_hold_everything_once(recorded: Recorded) -> None:
    for number in range(1, 8):
        recorded.holding(number % 3, number, 100 * number, 100 * number + 50)
    for place in range(5):
        recorded.holding(place, 20 + place, 1000)
    ended, after = [], 0
    while True:
        page = recorded.history.ended(after, 3)
        ended += [one.lease_id for one in page.holdings]
        if page.after is None:
            break
        after = page.after
    assert ended == list(range(1, 8))
    first = recorded.history.lasting(-1, 3, now=NOW)
    assert first.after is not None
    second = recorded.history.lasting(first.after, 3, now=NOW)
    assert second.after is None
    assert [one.lease_id for one in first.holdings + second.holdings] == list(range(20, 25))


def test_address_zero_is_an_address_too(recorded: Recorded) -> None:
    recorded.holding(-int(FIRST), 1, 100)
    assert len(recorded.history.lasting(-1, 10, now=NOW).holdings) == 1


def test_what_is_old_is_forgotten_in_batches_and_the_rest_stays(recorded: Recorded) -> None:
    for number in range(1, 8):
        recorded.holding(0, number, 100 * number, 100 * number + 50)
    recorded.holding(1, 9, 10)
    assert [recorded.history.forget(551, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert recorded.names(0, 510) == []
    assert recorded.names(0, 610) == ["user6"]
    assert recorded.names(1, 20) == ["user9"]


def test_look_ups_use_an_index(filed: Recorded) -> None:
    """However many rows there are: what is read is what one address had."""
    for statement in (AT, FORGET):
        values = {"ipv4": 1, "at": 1.0, "before": 1.0, "limit": 1, "overdue": 1.0, "port": 1}
        assert isinstance(filed.history, LeaseHistory)
        plan = filed.history._db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        steps = [step for *_, step in plan if step.startswith(("SCAN", "SEARCH"))]
        assert steps
        assert all(step.startswith("SEARCH") for step in steps), steps


def test_a_million_holdings_are_no_burden(filed: Recorded) -> None:
    db = filed.store._db
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) "
        "INSERT INTO history "
        "SELECT NULL, i % 50000, 0, 0, 0, zeroblob(16), '', i, i * 60, i * 60 + 30 FROM n"
    )
    (found,) = filed.history.holders(IPv4Address(49_999), 49_999 * 60 + 15, now=NOW)
    assert found.lease_id == 49_999
    assert filed.history.forget(1e9, 1000) == 1000
    assert len(filed.history.ended(500_000, 1000).holdings) == 1000


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    sqlite3.connect(path).close()
    history = LeaseHistory(path)
    with pytest.raises(StoreError, match=r"other\.sqlite: no such table"):
        history.ended(0, 1)
    history.close()
