"""Port sets through the whole server: control, store, feed, history, restart."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.daemon.server_process import FollowingRouter, ServerProcess, bounded, until, until_state

if TYPE_CHECKING:
    from dstmrouter.zmqctl import AsyncControlClient

ADDRESS = "192.0.2.8"
WHOLE = f'prefix = "{ADDRESS}/32"'
HALVES = f"{WHOLE}\npsid_len = 1\npsid_offset = 6"
REQUIRED = 'required = ["gw1"]\nack_timeout_s = 10'


def share(server: ServerProcess, how: str) -> None:
    text = server.config.read_text()
    for before in ('prefix = "192.0.2.0/24"', HALVES, WHOLE):
        text = text.replace(before, "HOW")
    server.config.write_text(text.replace("HOW", how))


async def grant(ctl: AsyncControlClient, number: int) -> dict[str, Any]:
    return await ctl.call("lease.grant", client6=f"2001:db8::{number}", port_set=True)


def test_two_clients_share_an_address() -> None:
    async def scenario(server: ServerProcess) -> None:
        share(server, HALVES)
        async with await server.start() as ctl, FollowingRouter(server, "gw1").following() as gw1:
            leases = [await grant(ctl, n) for n in (1, 2)]
            assert [lease["psid"] for lease in leases] == [0, 1]
            assert gw1.bindings == {f"{ADDRESS}/{n - 1}": f"2001:db8::{n}" for n in (1, 2)}
            status = (await ctl.call("status"))["pools"][0]
            assert (status["addresses"], status["port_sets"]) == (1, 2)
            for port, psid in ((1024, 0), (1024 + 512, 1)):
                found = await ctl.call("history.at", ipv4=ADDRESS, port=port)
                assert [row["psid"] for row in found["holders"]] == [psid]
            await ctl.call("lease.release", lease_id=leases[1]["lease_id"])
            await until(lambda: list(gw1.bindings) == [f"{ADDRESS}/0"], "the removal")
            await ctl.call("lease.renew", ipv4=ADDRESS, client6="2001:db8::1")
            gone = await ctl.call("lease.release", ipv4=ADDRESS, psid=0)
            assert gone["client6"] == "2001:db8::1"

    with ServerProcess(feed=REQUIRED) as server:
        bounded(scenario(server))


def test_an_address_that_is_lent_whole_again_rests_before() -> None:
    async def scenario(server: ServerProcess) -> None:
        share(server, HALVES)
        async with FollowingRouter(server, "gw1").following_later() as gw1:
            async with await server.start() as ctl:
                await grant(ctl, 1)
                server.kill()
            async with await server.start() as ctl:
                await until(lambda: len(gw1.epochs) == 2, "a snapshot of the new run")
                assert gw1.bindings == {f"{ADDRESS}/0": "2001:db8::1"}
                assert (await asyncio.to_thread(server.stop))[0] == 0
            before = time.time()
            share(server, WHOLE)
            async with await server.start() as ctl:
                await until(lambda: len(gw1.epochs) == 3, "a snapshot of the new run")
                assert gw1.bindings == {}
                await until_state(ctl, ADDRESS, "quarantine")
                was = await ctl.call("history.at", ipv4=ADDRESS, at=before, port=1024)
                assert [row["client6"] for row in was["holders"]] == ["2001:db8::1"]
                assert (await ctl.call("history.at", ipv4=ADDRESS))["holders"] == []

    with ServerProcess(feed=REQUIRED) as server:
        bounded(scenario(server))
