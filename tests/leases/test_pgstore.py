from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dstmrouter.leases.pgconnect import UnavailableError
from dstmrouter.leases.pgstore import PostgresStore
from dstmrouter.leases.state import State
from dstmrouter.leases.store import StoreError
from dstmrouter.protocols.granted import PortSet
from lab.netns import PATIENCE_S
from tests.leases.lending import FIRST, book_of, client, wish

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dstmrouter.leases.lease import Lease
    from lab.postgres import Postgres

CLOSE_S = 1.0  # between times that went over two clocks


def run(scenario: Coroutine[Any, Any, None], *stores: PostgresStore) -> None:
    async def bounded() -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario
        finally:
            for store in stores:
                await store.disconnect()

    asyncio.run(bounded())


def just(*leases: Lease) -> Callable[[list[Lease]], list[Lease]]:
    return lambda _news: list(leases)


def test_news_are_handed_out_once_and_in_order(postgres: Postgres) -> None:
    conninfo = postgres.database()
    a, b = PostgresStore(conninfo), PostgresStore(conninfo)
    assert a.id == b.id
    assert (a.run, b.run, a.found_version, b.found_version) == (1, 2, 0, 2)

    async def scenario() -> None:
        book = book_of(9)
        first, second, third = (book.grant(wish(n), time.monotonic()) for n in range(3))
        assert await a.write(just(second)) == [second]
        assert await a.write(just(first)) == [first]
        assert [lease.ipv4 for lease in await b.newer()] == [second.ipv4, first.ipv4]
        assert await b.newer() == []
        seen: list[list[Lease]] = []
        await a.write(just(third))
        await b.write(lambda news: seen.append(news) or [])  # type: ignore[func-returns-value]
        assert [[lease.ipv4 for lease in news] for news in seen] == [[third.ipv4]]
        assert await a.newer() == []  # its own are no news
        assert a.seen == b.seen

    run(scenario(), a, b)


def test_rows_come_back_as_they_were_in_our_time(postgres: Postgres) -> None:
    conninfo = postgres.database()
    a, b = PostgresStore(conninfo), PostgresStore(conninfo)
    book = book_of(3)
    now = time.monotonic()
    rows = [
        book.grant(wish(2, hint=2, identity="änn"), now),
        book.offer(wish(1), now),
        book.hold(FIRST + 1),
    ]
    ports = [PortSet(psid_offset=6, psid_len=8, psid=psid) for psid in (255, 1)]
    shared = [dataclasses.replace(rows[0], ipv4=FIRST + 5, port_set=each) for each in ports]
    rows += shared

    async def scenario() -> None:
        await a.write(just(*rows))
        for lease, back in zip(rows, await b.newer(), strict=True):
            assert back == dataclasses.replace(lease, until=back.until)
            assert back.until == pytest.approx(lease.until, abs=CLOSE_S)

    run(scenario(), a, b)
    loaded = PostgresStore(conninfo).load()
    assert loaded.ipv4.tolist() == [int(FIRST + n) for n in (0, 1, 2, 5, 5)]
    assert loaded.identity == ("", "", *["änn"] * 3)
    assert loaded.state.tolist() == [State.OFFERED, State.HELD, *[State.ACTIVE] * 3]
    assert loaded.port_sets.psid_offset.tolist() == [0, 0, 0, 6, 6]
    assert loaded.port_sets.psid_len.tolist() == [0, 0, 0, 8, 8]
    assert loaded.port_sets.psid.tolist() == [0, 0, 0, 1, 255]
    assert loaded.client6[0].tobytes() == client(1).packed
    assert loaded.until[2] == pytest.approx(rows[0].until, abs=CLOSE_S)


def test_a_clock_of_the_database_that_was_set_back_gives_nobody_more_time(
    postgres: Postgres,
) -> None:
    conninfo = postgres.database()
    a, b = PostgresStore(conninfo), PostgresStore(conninfo)
    lease = book_of(1).grant(wish(1), time.monotonic())

    async def scenario() -> None:
        await a.write(just(lease))
        with psycopg.connect(conninfo, autocommit=True) as db:  # the row is of tomorrow now
            db.execute("UPDATE leases SET until = until + 86400, written = written + 86400")
        [back] = await b.newer()
        assert back.until == pytest.approx(lease.until, abs=CLOSE_S)

    run(scenario(), a, b)
    assert PostgresStore(conninfo).load().until[0] == pytest.approx(lease.until, abs=CLOSE_S)


def test_nothing_is_written_when_the_decision_fails(postgres: Postgres) -> None:
    store = PostgresStore(postgres.database())
    lease = book_of(1).grant(wish(1), 0.0)

    async def scenario() -> None:
        def undecided(_news: list[Lease]) -> list[Lease]:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await store.write(undecided)
        nobody = dataclasses.replace(lease, identity=None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="null value"):
            await store.write(just(lease, nobody))
        assert len(store.load()) == 0
        await store.write(just(lease))
        assert len(store.load()) == 1

    run(scenario(), store)


def test_writers_wait_for_each_other(postgres: Postgres) -> None:
    conninfo = postgres.database()
    a, b = PostgresStore(conninfo), PostgresStore(conninfo)

    async def grant_all(store: PostgresStore, first: int) -> None:
        book = book_of(64)
        for n in range(first, 64, 2):
            await store.write(just(book.grant(wish(n, hint=n), time.monotonic())))

    async def scenario() -> None:
        await asyncio.gather(grant_all(a, 0), grant_all(b, 1))

    run(scenario(), a, b)
    assert len(a.load()) == 64
    with psycopg.connect(conninfo) as db:
        versions = db.execute("SELECT count(DISTINCT version) FROM leases").fetchone()
    assert versions == (64,)


def test_a_commit_is_heard_and_runs_live_as_long_as_they_listen(postgres: Postgres) -> None:
    conninfo = postgres.database()
    a, b = PostgresStore(conninfo), PostgresStore(conninfo)
    book = book_of(3)
    ended = [book.grant(wish(n), time.monotonic()) for n in range(2)]
    ended = [book.release(lease.ipv4) for lease in ended]

    async def scenario() -> None:
        async with b.listening() as hearing:
            async with a.listening():
                assert sorted(await b.live_runs(hearing)) == [a.run, b.run]
                await a.write(just(ended[0]))
                async for told in hearing.notifies(timeout=PATIENCE_S, stop_after=1):
                    assert told.channel == "dstm_leases"
                assert await b.orphans(hearing, [a.run, b.run]) == []
            async with asyncio.timeout(PATIENCE_S):
                while await b.live_runs(hearing) != [b.run]:
                    await asyncio.sleep(0.01)
            await b.write(just(ended[1]))
            left = await b.orphans(hearing, [b.run])
            assert left == [(ended[0].share, ended[0].lease_id)]

    run(scenario(), a, b)


def test_a_server_of_an_older_schema_ends_when_the_store_is_upgraded(postgres: Postgres) -> None:
    conninfo = postgres.database()
    store = PostgresStore(conninfo)
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("UPDATE dstm_store SET version = version + 1")

    async def scenario() -> None:
        with pytest.raises(StoreError, match="schema version 3 by now, not 2"):
            await store.write(just())

    run(scenario(), store)


def test_a_database_that_lost_commits_is_not_believed(postgres: Postgres) -> None:
    conninfo = postgres.database()
    store = PostgresStore(conninfo)
    lease = book_of(1).grant(wish(1), 0.0)

    async def scenario() -> None:
        for _ in range(3):
            await store.write(just(lease))
        with psycopg.connect(conninfo, autocommit=True) as db:
            db.execute("SELECT setval('dstm_version', 1)")
        with pytest.raises(StoreError, match="version 1 after 3: it lost commits"):
            await store.newer()
        with pytest.raises(StoreError, match="version 2 after 3: it lost commits"):
            await store.write(just(lease))

    run(scenario(), store)


def test_rows_that_something_else_changes_are_noticed(postgres: Postgres) -> None:
    conninfo = postgres.database()
    store = PostgresStore(conninfo)
    lease = book_of(1).grant(wish(1), 0.0)

    async def scenario() -> None:
        await store.write(just(lease))

        def late(_news: list[Lease]) -> list[Lease]:
            with psycopg.connect(conninfo, autocommit=True) as db:
                db.execute("UPDATE leases SET version = 1000000")
            return [lease]

        with pytest.raises(StoreError, match="something else than a dstm-server"):
            await store.write(late)

    run(scenario(), store)


def test_a_database_that_goes_away_and_comes_back(postgres: Postgres) -> None:
    store = PostgresStore(postgres.database())
    leases = [book_of(2).grant(wish(n, hint=n), time.monotonic()) for n in range(2)]

    async def scenario() -> None:
        await store.write(just(leases[0]))
        postgres.kill()
        try:
            for _ in range(2):
                with pytest.raises(UnavailableError, match="try again"):
                    await store.write(just(leases[1]))
            with pytest.raises(UnavailableError):
                async with store.listening():
                    pass
        finally:
            postgres.start()
        assert await store.newer() == []
        await store.write(just(leases[1]))
        assert len(store.load()) == 2

    run(scenario(), store)


def test_a_database_that_cannot_be_used_is_one_line(postgres: Postgres) -> None:
    with pytest.raises(StoreError, match=r'^PostgreSQL: .*database "absent" does not exist$'):
        PostgresStore(postgres.conninfo("absent"))
    with pytest.raises(StoreError, match=r"^PostgreSQL: [^\n]*$"):
        PostgresStore("host=/nowhere dbname=x")
