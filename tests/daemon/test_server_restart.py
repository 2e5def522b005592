"""dstm-server over its own end: killed, started again, refused, unable to write."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

from tests.daemon.server_process import (
    DEADLINE_S,
    FollowingRouter,
    ServerProcess,
    bounded,
    until,
    until_state,
)

if TYPE_CHECKING:
    from dstmrouter.zmqctl import AsyncControlClient

REQUIRED = 'required = ["gw1"]\nack_timeout_s = 10'


def test_kill_and_restart_keep_promises_and_finish_removals() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with FollowingRouter(server, "gw1").following_later() as gw1:
            async with await server.start() as ctl:
                await until(lambda: gw1.epochs, "a first snapshot")
                grants = [ctl.call("lease.grant", client6=f"2001:db8::{n}") for n in range(1, 50)]
                leases = await asyncio.gather(*grants)
                promised = {lease["ipv4"]: lease["client6"] for lease in leases}
                assert len(promised) == 49
                assert gw1.bindings == promised
                gw1.deaf = True
                await ctl.call("lease.release", ipv4="192.0.2.5")
                server.kill()
            del promised["192.0.2.5"]
            gw1.deaf = False
            async with await server.start() as ctl:
                await until(lambda: len(gw1.epochs) == 2, "a snapshot of the new run")
                await until_state(ctl, "192.0.2.5", "quarantine")
                assert gw1.bindings == promised
                fresh = await ctl.call("lease.grant", client6="2001:db8::ffff")
                assert fresh["ipv4"] not in promised | {"192.0.2.5": ""}
                same = await ctl.call("lease.grant", client6="2001:db8::9")
                assert promised[same["ipv4"]] == "2001:db8::9"

    with ServerProcess(feed=REQUIRED) as server:
        bounded(scenario(server))


def test_kill_amid_grants_keeps_every_answered_one() -> None:
    async def scenario(server: ServerProcess) -> None:
        answered: dict[str, str] = {}

        async def keep_asking(ctl: AsyncControlClient, block: int) -> None:
            for n in range(30):
                lease = await ctl.call("lease.grant", client6=f"2001:db8:{block}::{n:x}")
                answered[lease["client6"]] = lease["ipv4"]

        async with await server.start() as ctl:
            asking = [asyncio.create_task(keep_asking(ctl, block)) for block in range(1, 9)]
            await until(lambda: len(answered) >= 40, "40 answers")
            server.kill()
            for task in asking:
                task.cancel()
        assert len(set(answered.values())) == len(answered) < 240
        async with await server.start() as ctl:
            held = {row["client6"]: row["ipv4"] for row in (await ctl.call("leases"))["leases"]}
            assert len(set(held.values())) == len(held)
            assert answered.items() <= held.items()

    with ServerProcess() as server:
        bounded(scenario(server))


def test_pool_that_comes_back_does_not_give_a_client_two_leases() -> None:
    async def scenario(server: ServerProcess) -> None:
        text = server.config.read_text()
        elsewhere = text.replace("192.0.2.0/24", "198.51.100.0/24")
        both = text.replace("[tep]", '[[pool]]\nprefix = "198.51.100.0/24"\n[tep]')
        async with FollowingRouter(server, "gw1").following_later() as gw1:
            for config in (text, elsewhere, both):
                server.config.write_text(config)
                async with await server.start() as ctl:
                    lease = await ctl.call("lease.grant", client6="2001:db8::7")
                    assert gw1.bindings == {lease["ipv4"]: "2001:db8::7"}
                    if config is both:
                        assert lease["ipv4"] == "198.51.100.0"
                        await until_state(ctl, "192.0.2.0", "quarantine")
                assert (await asyncio.to_thread(server.stop))[0] == 0

    with ServerProcess(feed=REQUIRED) as server:
        bounded(scenario(server))


def test_second_server_on_the_store_is_refused() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl:
            second = server.popen()
            log = (await asyncio.to_thread(second.communicate, None, DEADLINE_S))[1]
            assert second.returncode == 1
            assert "leases.sqlite: in use by another dstm-server" in log
            assert "Traceback" not in log
            assert (await ctl.call("status"))["server"] == "leases1"

    with ServerProcess() as server:
        bounded(scenario(server))


def test_server_that_cannot_write_ends_and_promises_nothing() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl:
            blocker = sqlite3.connect(server.home / "leases.sqlite", isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            grant = asyncio.create_task(ctl.call("lease.grant", 60.0, client6="2001:db8::7"))
            assert server.process is not None
            log = (await asyncio.to_thread(server.process.communicate, None, DEADLINE_S))[1]
            blocker.close()
            assert server.process.returncode == 1
            assert "leases.sqlite: database is locked" in log
            assert "Traceback" not in log
            assert not grant.done()

    with ServerProcess() as server:
        bounded(scenario(server))
