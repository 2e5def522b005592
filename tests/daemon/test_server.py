from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.zmqctl import (
    CurveClient,
    KeyPair,
    RefusedError,
    write_keys,
)
from tests.daemon.server_process import (
    FollowingRouter,
    ServerProcess,
    bounded,
    state_of,
    until,
    until_state,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

REQUIRED = 'required = ["gw1"]\nack_timeout_s = 10'
IMPATIENT = 'required = ["gw1"]\nack_timeout_s = 0.2'
SHORT = "default_s = 1\nmin_s = 1\ngrace_s = 1\nquarantine_s = 1"


async def refusal(call: Coroutine[Any, Any, dict[str, Any]]) -> str:
    with pytest.raises(RefusedError) as refused:
        await call
    return refused.value.reason


def test_lease_is_granted_listed_renewed_and_released() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl:
            lease = await ctl.call("lease.grant", client6="2001:db8::7", identity="ann")
            assert (lease["ipv4"], lease["state"]) == ("192.0.2.0", "active")
            assert lease == await ctl.call("lease.grant", client6="2001:db8::7", identity="ann") | {
                "expires_in_s": lease["expires_in_s"]
            }
            second = await ctl.call("lease.grant", client6="2001:db8::8")
            assert second["ipv4"] == "192.0.2.2"  # .1 is tep4
            renewed = await ctl.call(
                "lease.renew", lease_id=lease["lease_id"], client6="2001:db8::7", lifetime_s=5000
            )
            assert 4990 < renewed["expires_in_s"] <= 5000
            listed = await ctl.call("leases", state="active", offset=1, limit=1)
            assert listed["total"] == 2
            assert [row["ipv4"] for row in listed["leases"]] == ["192.0.2.2"]
            gone = await ctl.call("lease.release", ipv4="192.0.2.0", client6="2001:db8::7")
            assert gone["state"] == "removing"
            status = await ctl.call("status")
            assert status["generation"] == 5
            assert status["pools"] == [
                {"name": "main", "addresses": 255, "free": 253, "offered": 0, "active": 1}
                | {"removing": 1, "quarantine": 0, "held": 0}
                | {"used_percent": 0.8, "alarm_percent": None}
            ]

    with ServerProcess() as server:
        bounded(scenario(server))


def test_grant_is_answered_when_the_required_router_forwards() -> None:
    async def scenario(server: ServerProcess) -> None:
        router = FollowingRouter(server, "gw1")
        async with await server.start() as ctl, router.following():
            lease = await ctl.call("lease.grant", client6="2001:db8::7", lifetime_s=600)
            assert router.bindings == {lease["ipv4"]: "2001:db8::7"}
            assert router.lifetimes[lease["ipv4"]] == 630
            router.deaf = True
            waiting = asyncio.create_task(ctl.call("lease.grant", client6="2001:db8::8"))
            released = await ctl.call("lease.release", ipv4=lease["ipv4"])
            assert released["state"] == "removing"
            assert await state_of(ctl, "192.0.2.2") == "active"
            assert not waiting.done()
            assert await state_of(ctl, lease["ipv4"]) == "removing"
            router.deaf = False
            await waiting
            assert router.bindings["192.0.2.2"] == "2001:db8::8"
            await until_state(ctl, lease["ipv4"], "quarantine")
            assert lease["ipv4"] not in router.bindings

    with ServerProcess(feed=REQUIRED) as server:
        bounded(scenario(server))


def test_grant_without_the_required_router_is_taken_back() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl:
            assert await refusal(ctl.call("lease.grant", client6="2001:db8::7")) == "try-again"
            assert await state_of(ctl, "192.0.2.0") == "removing"
            async with FollowingRouter(server, "gw1").following() as router:
                assert router.bindings == {}
                lease = await ctl.call("lease.grant", client6="2001:db8::7")
                assert router.bindings == {lease["ipv4"]: "2001:db8::7"}
            reason = await refusal(ctl.call("lease.renew", client6="2001:db8::7", **_named(lease)))
            assert reason == "try-again"
            assert await state_of(ctl, lease["ipv4"]) == "active"  # a promise made earlier

    with ServerProcess(feed=IMPATIENT) as server:
        bounded(scenario(server))


def _named(lease: dict[str, Any]) -> dict[str, Any]:
    return {"ipv4": lease["ipv4"]}


def test_lease_ends_at_the_router_then_rests_then_is_free() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl, FollowingRouter(server, "gw1").following() as gw1:
            lease = await ctl.call("lease.grant", client6="2001:db8::7")
            assert gw1.bindings == {lease["ipv4"]: "2001:db8::7"}
            await until(lambda: not gw1.bindings, "removal at the router")
            await until_state(ctl, lease["ipv4"], "quarantine")
            await until_state(ctl, lease["ipv4"], "free")

    with ServerProcess(lease=SHORT, feed=REQUIRED) as server:
        bounded(scenario(server))


def test_router_on_the_network_proves_its_key() -> None:
    server_keys, router_keys = KeyPair.generate(), KeyPair.generate()
    curve = f"""
[curve]
secret_key_file = "{{home}}/key"
[[curve.allowed]]
name = "gw1"
public_key = "{router_keys.public}"
"""

    async def scenario(server: ServerProcess) -> None:
        write_keys(server_keys, server.home / "key")
        async with await server.start() as ctl:
            ours = CurveClient(router_keys, server_keys.public)
            foreign = CurveClient(KeyPair.generate(), server_keys.public)
            intruder = FollowingRouter(server, "gw1", foreign)
            gw1 = FollowingRouter(server, "gw1", ours)
            async with intruder.following_later(), gw1.following():
                lease = await ctl.call("lease.grant", client6="2001:db8::7")
                assert gw1.bindings == {lease["ipv4"]: "2001:db8::7"}
                assert intruder.epochs == []

    endpoints = (f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}")
    with ServerProcess(feed=REQUIRED, endpoints=endpoints, curve=curve) as server:
        bounded(scenario(server))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_held_address_is_removed_and_comes_back_by_unhold() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl, FollowingRouter(server, "gw1").following() as gw1:
            lease = await ctl.call("lease.grant", client6="2001:db8::7")
            held = await ctl.call("lease.hold", ipv4=lease["ipv4"])
            assert held["state"] == "held"
            await until(lambda: not gw1.bindings, "removal at the router")
            assert await refusal(ctl.call("lease.release", ipv4=lease["ipv4"])) == "no-lease"
            await ctl.call("lease.unhold", ipv4=lease["ipv4"])
            await until_state(ctl, lease["ipv4"], "quarantine")

    with ServerProcess() as server:
        bounded(scenario(server))


def test_sigterm_ends_in_order() -> None:
    async def scenario(server: ServerProcess) -> None:
        async with await server.start() as ctl:
            await ctl.call("lease.grant", client6="2001:db8::7")
        code, log = await asyncio.to_thread(server.stop)
        assert code == 0, log
        assert "stopped" in log
        assert "Traceback" not in log

    with ServerProcess() as server:
        bounded(scenario(server))
