"""Two dstm-server processes on one PostgreSQL: asked, killed and cut off.

DSTM_REQUESTS=10000 pytest -s tests/daemon/test_server_pair.py -k amid says how long that takes.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.daemon.server_pair import POOL, ServerPair, clients
from tests.daemon.server_process import DEADLINE_S, bounded, until, until_state
from tests.daemon.sharing_router import SharingRouter

if TYPE_CHECKING:
    from lab.postgres import Postgres

pytestmark = pytest.mark.usefixtures("untraced")

REQUESTS: Final = int(os.environ.get("DSTM_REQUESTS", "400"))
REQUIRED: Final = 'required = ["gw1"]\nack_timeout_s = 10'


def test_both_amid_requests_for_the_same_clients(postgres: Postgres) -> None:
    async def scenario(pair: ServerPair) -> None:
        async with (
            pair.running(),
            SharingRouter("gw1", POOL, pair.servers).following() as gw1,
        ):
            begun = time.perf_counter()
            asked = clients(REQUESTS // 2)
            twice = [client6 for client6 in asked for _ in range(2)]  # at both, at the same time
            await pair.grant_all(twice)
            took_s = time.perf_counter() - begun
            print(
                f"{REQUESTS} requests in {took_s:.1f} s, {REQUESTS / took_s:.0f}/s", pair.refusals
            )
            assert pair.refusals == {}
            assert pair.check() == pair.promised
            assert sorted(pair.promised.values()) == sorted(asked)
            await until(lambda: gw1.bindings() == pair.promised, "all bindings at the router")
            assert gw1.refused() == 0

    bounded(scenario(ServerPair(postgres.database(), feed=REQUIRED)))


@pytest.mark.parametrize("victim", [0, 1])
def test_kill_of_either_amid_requests(postgres: Postgres, victim: int) -> None:
    survivor = 1 - victim

    async def scenario(pair: ServerPair) -> None:
        async with (
            pair.running(),
            SharingRouter("gw1", POOL, pair.servers).following() as gw1,
        ):
            begun = time.perf_counter()
            asking = asyncio.create_task(pair.grant_all(clients(REQUESTS), timeout_s=5.0))
            await until(lambda: len(pair.promised) >= REQUESTS // 4, "a quarter of the promises")
            pair.kill(victim)
            early = dict(pair.promised)
            await asking
            assert len(early) <= len(pair.promised) < REQUESTS  # it was in the middle
            assert set(pair.refusals) == {"no answer"}
            # Whoever got no answer asks the other, and whoever did gets the same again.
            await pair.grant_all_at(survivor, clients(REQUESTS))
            print(f"{2 * REQUESTS} requests in {time.perf_counter() - begun:.1f} s", pair.refusals)
            assert pair.check() == pair.promised
            assert len(pair.promised) == REQUESTS
            await until(lambda: gw1.bindings() == pair.promised, "all bindings at the router")
            gone = next(iter(early))
            had = await pair.controls[survivor].call("history.at", ipv4=gone)
            assert [one["client6"] for one in had["holders"]] == [pair.promised[gone]]
            await pair.controls[survivor].call("lease.release", ipv4=gone)
            del pair.promised[gone]
            await until(lambda: gw1.bindings() == pair.promised, "a removal by the survivor")
            await until_state(pair.controls[survivor], gone, "quarantine")
            again = await pair.start(victim)
            await until(lambda: gw1.acknowledges(victim), "the router to follow the next run")
            assert await pair.grant(victim, "2001:db8:9::1")
            assert gw1.bindings() == pair.promised
            assert len((await again.call("status"))["runs"]) == 2

    bounded(scenario(ServerPair(postgres.database(), feed=REQUIRED)))


def test_removals_of_a_killed_server_are_finished_and_its_leases_end(postgres: Postgres) -> None:
    async def scenario(pair: ServerPair) -> None:
        async with pair.running():
            first = pair.controls[0]
            ended = (await first.call("lease.grant", client6="2001:db8::1"))["ipv4"]
            short = await first.call("lease.grant", client6="2001:db8::2", lifetime_s=5)
            kept = short["ipv4"]
            async with SharingRouter("gw1", POOL, pair.servers[1:]).following() as gw1:
                await until(lambda: len(gw1.bindings()) == 2, "both bindings")
                await pair.controls[0].call("lease.release", ipv4=ended)  # nobody acknowledges
                await until(lambda: list(gw1.bindings()) == [kept], "the removal")
                await until_state(pair.controls[1], ended, "removing")
                pair.kill(0)
                await until_state(pair.controls[1], ended, "quarantine")
                await until_state(pair.controls[1], ended, "free")
                await until_state(pair.controls[1], kept, "free")
                assert gw1.bindings() == {}

    lease = "default_s = 900\nmin_s = 1\ngrace_s = 1\nquarantine_s = 1"
    bounded(scenario(ServerPair(postgres.database(), lease=lease)))


def test_database_restarted_amid_requests(postgres: Postgres) -> None:
    async def scenario(pair: ServerPair) -> None:
        async with (
            pair.running(),
            SharingRouter("gw1", POOL, pair.servers).following() as gw1,
        ):
            asking = asyncio.create_task(pair.grant_all(clients(600)))
            await until(lambda: len(pair.promised) >= 100, "100 promises")
            await asyncio.to_thread(postgres.kill)
            try:
                before = dict(pair.promised)
                await until(lambda: pair.refusals, "a refusal")
                assert before.items() <= gw1.bindings().items()
            finally:
                await asyncio.to_thread(postgres.start)
            await asking
            assert set(pair.refusals) == {"try-again"}
            deadline = time.monotonic() + DEADLINE_S
            while len(pair.promised) < 600 and time.monotonic() < deadline:
                await pair.grant_all(clients(600))
            assert pair.check() == pair.promised
            assert len(pair.promised) == 600
            await until(lambda: gw1.bindings() == pair.promised, "all bindings at the router")

    bounded(scenario(ServerPair(postgres.database(), feed=REQUIRED)))


def test_both_killed_at_once_lose_nothing(postgres: Postgres) -> None:
    async def scenario(pair: ServerPair) -> None:
        async with pair.running():
            asking = asyncio.create_task(pair.grant_all(clients(400), timeout_s=1.0))
            await until(lambda: len(pair.promised) >= 50, "50 promises")
            for which in (0, 1):
                pair.kill(which)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            pair.check()
            for which in (0, 1):
                await pair.start(which)
            await pair.grant_all(clients(400))
            assert pair.check() == pair.promised

    bounded(scenario(ServerPair(postgres.database())))
