from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dstmrouter.zmqctl import RefusedError
from tests.daemon.lending_server import lending_server

CLIENT: dict[str, Any] = {"client6": "2001:db8::7"}
BAD: list[tuple[str, dict[str, Any]]] = [
    ("lease.grant", {}),
    ("lease.grant", {"client6": "192.0.2.1"}),
    ("lease.grant", {"client6": 5}),
    ("lease.grant", {"client6": b"\x20\x01" + bytes(14)}),
    ("lease.grant", {"client6": ["2001:db8::7"]}),
    ("lease.grant", CLIENT | {"lifetime_s": 0}),
    ("lease.grant", CLIENT | {"lifetime_s": True}),
    ("lease.grant", CLIENT | {"lifetime_s": float("nan")}),
    ("lease.grant", CLIENT | {"lifetime_s": 1 << 40}),
    ("lease.grant", CLIENT | {"port_set": 1}),
    ("lease.grant", CLIENT | {"psid": 65536}),
    ("lease.grant", CLIENT | {"identity": 7}),
    ("lease.grant", CLIENT | {"identity": "a\nb"}),
    ("lease.grant", CLIENT | {"ipv4": 3221225985}),
    ("lease.grant", CLIENT | {"ipv4": "192.0.2.256"}),
    ("lease.renew", CLIENT),
    ("lease.renew", CLIENT | {"lease_id": "1"}),
    ("lease.release", {}),
    ("lease.release", {"ipv4": "192.0.2.0", "client6": None}),
    ("leases", {"offset": -1}),
    ("leases", {"limit": "10"}),
    ("leases", {"state": "borrowed"}),
    ("leases", {"state": ["active"]}),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("lease.grant", {"client6": "fe80::1"}, "bad-client6"),
    ("lease.grant", {"client6": "2001:db8:f::1"}, "bad-client6"),
    ("lease.grant", CLIENT | {"identity": "x" * 256}, "bad-identity"),
    ("lease.renew", CLIENT | {"ipv4": "192.0.2.7"}, "no-lease"),
    ("lease.renew", CLIENT | {"lease_id": 77}, "no-lease"),
    ("lease.release", {"ipv4": "192.0.2.1"}, "no-lease"),  # tep4 is in no pool
    ("lease.release", {"ipv4": "192.0.2.7", "psid": 3}, "no-lease"),
    ("lease.unhold", {"ipv4": "192.0.2.7"}, "not-held"),
]


async def refuse_all(calls: list[tuple[str, dict[str, Any], str]]) -> None:
    async with lending_server() as ctl:
        for method, params, reason in calls:
            with pytest.raises(RefusedError) as refused:
                await ctl.call(method, **params)
            assert refused.value.reason == reason, f"{method} {params}"
        assert (await ctl.call("leases"))["total"] == 0


def test_parameters_that_make_no_sense_are_refused() -> None:
    asyncio.run(refuse_all([(method, params, "bad-request") for method, params in BAD]))


def test_rules_of_the_book_reach_the_caller() -> None:
    asyncio.run(refuse_all(REFUSED))


def test_pages_are_complete_and_bounded() -> None:
    async def scenario() -> None:
        async with lending_server() as ctl:
            for first in range(1, 121, 40):
                wanted = range(first, first + 40)
                await asyncio.gather(
                    *(ctl.call("lease.grant", client6=f"2001:db8::{n:x}") for n in wanted)
                )
            seen = []
            for offset in range(0, 130, 50):
                page = await ctl.call("leases", offset=offset, limit=50)
                assert page["total"] == 120
                seen += [row["client6"] for row in page["leases"]]
            assert sorted(seen) == sorted(f"2001:db8::{n:x}" for n in range(1, 121))
            assert len((await ctl.call("leases", limit=1 << 31))["leases"]) == 120
            assert (await ctl.call("leases", offset=1 << 31))["leases"] == []
            free = await ctl.call("leases", state="free")
            assert free["total"] == 255 - 120
            assert {row["expires_in_s"] for row in free["leases"]} == {None}

    asyncio.run(scenario())


def test_hint_and_operators_release() -> None:
    async def scenario() -> None:
        async with lending_server() as ctl:
            lease = await ctl.call("lease.grant", ipv4="192.0.2.77", **CLIENT)
            assert lease["ipv4"] == "192.0.2.77"
            with pytest.raises(RefusedError, match="not lent to 2001:db8::8"):
                await ctl.call("lease.release", ipv4="192.0.2.77", client6="2001:db8::8")
            gone = await ctl.call("lease.release", lease_id=lease["lease_id"])
            assert gone["ipv4"] == "192.0.2.77"

    asyncio.run(scenario())


def test_status_says_what_the_server_is() -> None:
    async def scenario() -> None:
        async with lending_server(feed='required = ["gw1"]') as ctl:
            status = await ctl.call("status")
            assert len(bytes.fromhex(status.pop("epoch"))) == 16
            assert status.pop("uptime_s") >= 0
            assert status.pop("store").endswith("/leases.sqlite")
            assert [pool["free"] for pool in status.pop("pools")] == [255]
            assert status == {
                "server": "leases1",
                "generation": 0,
                "rate_limited": 0,
                "bound": 0,
                "tep6": ["2001:db8:f::1"],
                "tep4": "192.0.2.1",
                "required": ["gw1"],
                "routers": [],
            }

    asyncio.run(scenario())
