"""Two ledgers over one PostgreSQL, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from dstmrouter.binding import OP_PUT, BindingColumns, address4
from dstmrouter.daemon.lending import Lender
from dstmrouter.daemon.server_ledger import SupersededError
from dstmrouter.daemon.shared_ledger import SharedLedger
from dstmrouter.errors import LeaseError
from dstmrouter.leases.pgconnect import UnavailableError
from dstmrouter.leases.pgstore import PostgresStore
from dstmrouter.leases.pool import AddressSpace
from dstmrouter.leases.shared import SharedBook
from dstmrouter.leases.state import State
from tests.daemon.server_process import DEADLINE_S, until
from tests.leases.lending import FIRST, TEP6, TERMS, client, pool, wish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine
    from typing import Any

    from dstmrouter.leases.lease import Lease
    from lab.postgres import Postgres


class Routers:
    """A feed whose routers have acknowledged everything unless they are `deaf`."""

    def __init__(self) -> None:
        self.generation = 0
        self.deaf = False
        self.told: dict[str, bool] = {}  # whether an address is bound, as the feed said last

    async def publish(self, changes: BindingColumns) -> int:
        self.generation += 1
        for op, ipv4 in zip(changes.op, changes.ipv4, strict=True):
            self.told[str(address4(ipv4))] = bool(op == OP_PUT)
        return self.generation

    async def wait_acked(
        self, generation: int, routers: Collection[str], timeout_s: float
    ) -> set[str]:
        assert generation <= self.generation
        assert timeout_s > 0
        await asyncio.sleep(0.01)
        return set(routers) if self.deaf else set()


class Server:
    """One server of the store, without its sockets."""

    def __init__(self, conninfo: str) -> None:
        self.store = PostgresStore(conninfo)
        space = AddressSpace([pool(str(FIRST), str(FIRST + 99))])
        self.book = SharedBook(space, TERMS, run=self.store.run, tep6=[TEP6])
        superseded = self.book.restore(self.store.load())
        assert superseded == []
        self.routers = Routers()
        self.ledger = SharedLedger(
            self.book, self.store, self.routers, tep6=[TEP6], routers=lambda: {"gw1"}
        )
        self.lender = Lender(self.book, self.ledger, self.routers, required=(), ack_timeout_s=1.0)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        parts = (self.ledger.run_settling, self.ledger.run_following, self.ledger.run_removal)
        self._tasks = [asyncio.create_task(part()) for part in parts]

    async def die(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def state_of(self, lease: Lease, state: State) -> None:
        slot = self.book.space.slot(lease.ipv4)
        assert slot is not None
        await until(lambda: self.book.table.get(slot).state is state, f"{lease.ipv4} {state.name}")


def sharing(conninfo: str, scenario: Callable[[Server, Server], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        servers = Server(conninfo), Server(conninfo)
        for server in servers:
            server.start()
        try:
            await asyncio.wait_for(scenario(*servers), 2 * DEADLINE_S)
        finally:
            for server in servers:
                await server.die()

    asyncio.run(run())


def test_each_server_tells_its_routers_what_all_servers_do(postgres: Postgres) -> None:
    async def scenario(a: Server, b: Server) -> None:
        lease = await a.lender.grant(wish(1))
        await until(lambda: b.routers.told == {str(lease.ipv4): True}, "the grant at the other")
        assert (await b.lender.grant(wish(1))).lease_id == lease.lease_id
        await b.lender.release(lease.ipv4, client(1))
        await until(lambda: a.routers.told == {str(lease.ipv4): False}, "the release")
        await a.state_of(lease, State.QUARANTINE)
        assert b.routers.told == a.routers.told

    sharing(postgres.database(), scenario)


def test_who_is_overtaken_decides_again(postgres: Postgres) -> None:
    async def scenario(a: Server, b: Server) -> None:
        leases = await asyncio.gather(
            *(server.lender.grant(wish(n)) for n in range(10) for server in (a, b)),
            *(server.lender.grant(wish(100 + n, hint=90)) for n, server in enumerate((a, b))),
        )
        assert (
            len({lease.ipv4 for lease in leases}) == len({lease.client6 for lease in leases}) == 12
        )
        assert a.book.drafts == b.book.drafts == []

    sharing(postgres.database(), scenario)


def test_only_what_is_overtaken_is_refused(postgres: Postgres) -> None:
    async def scenario(a: Server, b: Server) -> None:
        await b.die()  # nobody hears of commits: what is decided is stored later
        lost = b.book.grant(wish(1, hint=50), time.monotonic())
        other = b.book.grant(wish(2), time.monotonic())
        waiting = [asyncio.create_task(b.ledger.settle([one])) for one in (lost, other)]
        await a.lender.grant(wish(3, hint=50))
        b.start()
        with pytest.raises(SupersededError):
            await waiting[0]
        await waiting[1]
        assert b.book.is_current(other)
        assert not b.book.is_current(lost)
        assert b.book.lease_of(client(1)) is None

    sharing(postgres.database(), scenario)


def test_the_other_server_finishes_a_removal_only_when_the_first_is_gone(
    postgres: Postgres,
) -> None:
    async def scenario(a: Server, b: Server) -> None:
        a.routers.deaf = True
        lease = await a.lender.grant(wish(1))
        await a.lender.release(lease.ipv4)
        await b.state_of(lease, State.REMOVING)
        await b.ledger.settle(())
        assert b.ledger._leaving == {}  # its routers would have acknowledged
        await a.die()
        await b.state_of(lease, State.QUARANTINE)

    sharing(postgres.database(), scenario)


def test_a_removal_that_a_former_run_began_is_finished(postgres: Postgres) -> None:
    conninfo = postgres.database()

    async def begin(a: Server, b: Server) -> None:
        a.routers.deaf = b.routers.deaf = True
        lease = await a.lender.grant(wish(1))
        await a.lender.release(lease.ipv4)

    async def scenario(a: Server, b: Server) -> None:
        row = a.book.table.get(1)
        assert row.state is State.REMOVING
        await a.state_of(row, State.QUARANTINE)
        await b.state_of(row, State.QUARANTINE)

    sharing(conninfo, begin)
    sharing(conninfo, scenario)


def test_without_the_database_nothing_is_promised_and_nothing_is_forgotten(
    postgres: Postgres,
) -> None:
    async def scenario(a: Server, b: Server) -> None:
        lease = await a.lender.grant(wish(1))
        postgres.kill()
        try:
            for server, number in ((a, 2), (b, 3), (a, 4)):
                with pytest.raises(UnavailableError):
                    await server.lender.grant(wish(number))
            with pytest.raises(LeaseError, match="try again in 5 s"):
                await a.lender.release(lease.ipv4)
            assert a.book.is_current(lease)
            assert a.routers.told[str(lease.ipv4)]
            assert a.ledger.describe()["away"]
            await a.ledger.drain()  # a server can end
        finally:
            postgres.start()
        await until(lambda: a.ledger.away is b.ledger.away is None, "both to find it again")
        granted = [await server.lender.grant(wish(number)) for server, number in ((a, 2), (b, 3))]
        assert len({one.ipv4 for one in granted} | {lease.ipv4}) == 3
        assert a.book.drafts == b.book.drafts == []

    sharing(postgres.database(), scenario)


def test_a_commit_whose_answer_was_lost_is_found(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(a: Server, b: Server) -> None:
        whole = a.store.write

        async def cut_off(agree: Any) -> list[Lease]:
            seen = a.store.seen
            await whole(agree)
            a.store.seen = seen  # as if COMMIT had not come back
            raise UnavailableError("cut off")

        monkeypatch.setattr(a.store, "write", cut_off)
        with pytest.raises(UnavailableError):
            await a.lender.grant(wish(1))
        monkeypatch.undo()
        await until(lambda: a.book.lease_of(client(1)), "the lease that nobody was told of")
        lease = await a.lender.grant(wish(1))
        assert lease.lease_id == (await b.lender.grant(wish(1))).lease_id

    sharing(postgres.database(), scenario)


def test_losing_the_other_connection_costs_nothing(postgres: Postgres) -> None:
    conninfo = postgres.database()

    async def scenario(a: Server, b: Server) -> None:
        await until(lambda: len(a.ledger.describe()["runs"]) == 2, "both to be heard")
        with psycopg.connect(conninfo, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        with contextlib.suppress(UnavailableError):  # the cut connection is found by using it
            await a.lender.grant(wish(1))
        await until(lambda: a.ledger.away is b.ledger.away is None, "both to be back")
        lease = await a.lender.grant(wish(2))
        await until(lambda: b.routers.told.get(str(lease.ipv4)), "the grant at the other")

    sharing(conninfo, scenario)
