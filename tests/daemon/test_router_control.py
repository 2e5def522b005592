"""What a supervisor answers, before and after bindings have come; its workers are not started."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dstmrouter.binding import LIFETIME_FOREVER, full_address_columns, words6
from dstmrouter.config.load import load_router
from dstmrouter.daemon.router import Supervisor
from dstmrouter.daemon.router_control import RouterControl
from dstmrouter.daemon.usage_control import UsageControl
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.zmqctl import BindingUpdate
from lab.netns import PATIENCE_S
from tests.config.documents import ROUTER, edited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Ask = Callable[..., Awaitable[dict[str, Any]]]


def asking(
    tmp_path: Path, scenario: Callable[[Supervisor, Ask], Awaitable[None]], more: str = ""
) -> None:
    """Run `scenario` with a supervisor of two workers and a way to call its handlers.

    `more` is added to its configuration.
    """
    file = tmp_path / "router.toml"
    file.write_text(edited(ROUTER, 'name = "gw1"', 'name = "gw1"\nworkers = 2') + more)

    async def run() -> None:
        router = Supervisor(load_router(file))
        handlers = RouterControl(router).handlers() | UsageControl(router).handlers()

        async def ask(method: str, **params: object) -> dict[str, Any]:
            return await handlers[method](params)

        await asyncio.wait_for(_awaited(scenario(router, ask)), PATIENCE_S)

    asyncio.run(run())


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def bind(router: Supervisor, count: int) -> None:
    first = int(IPv4Address("203.0.113.1"))
    columns = full_address_columns(
        np.arange(first, first + count, dtype=np.uint32),
        words6([IPv6Address(f"2001:db8::{number + 1:x}") for number in range(count)]),
        lifetime_s=60,
        tep6=router.config.tunnel.tep6,
    )
    columns.lifetime_s[0] = LIFETIME_FOREVER
    update = BindingUpdate(source="s1", replace=False, columns=columns, epoch=b"", generation=1)
    assert (await router.intake.apply(update)).applied == count


def test_status_of_a_router_without_workers(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        status = await ask("status")
        assert (status["router"], status["bindings"], status["workers"]) == ("gw1", 0, [])
        assert status["pools"] == ["203.0.113.0/24"]
        await bind(router, 3)
        assert (await ask("status"))["bindings"] == 3

    asking(tmp_path, scenario)


def test_port_sets_are_shown_with_their_psid(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        columns = full_address_columns(
            np.array([int(IPv4Address("203.0.113.9"))] * 2, np.uint32),
            words6([IPv6Address("2001:db8::9"), IPv6Address("2001:db8::a")]),
            lifetime_s=60,
            tep6=router.config.tunnel.tep6,
        )
        columns.psid_offset[:], columns.psid_len[:], columns.psid[:] = 6, 8, [0x34, 0xFF]
        update = BindingUpdate(source="s", replace=False, columns=columns, epoch=b"", generation=1)
        assert (await router.intake.apply(update)).applied == 2
        await bind(router, 1)
        page = await ask("bindings")
        assert [row.get("psid") for row in page["bindings"]] == [None, 0x34, 0xFF]
        shown = (await ask("bindings", ipv4="203.0.113.9", limit=1))["bindings"][0]
        assert (shown["psid_offset"], shown["psid_len"]) == (6, 8)
        assert shown["client6"] == "2001:db8::9"

    asking(tmp_path, scenario)


def test_bindings_come_in_pages(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        await bind(router, 5)
        page = await ask("bindings", offset=3, limit=1)
        assert page["total"] == 5
        [row] = page["bindings"]
        assert row | {"expires_in_s": 60} == {
            "ipv4": "203.0.113.4",
            "client6": "2001:db8::4",
            "tep6": "2001:db8:f::1",
            "source": "s1",
            "expires_in_s": 60,
            "hop": "unreachable",  # nothing is known of the kernel's routes
        }
        assert 50 < row["expires_in_s"] <= 60
        [first] = (await ask("bindings", ipv4="203.0.113.1"))["bindings"]
        assert first["expires_in_s"] is None
        assert (await ask("bindings", ipv4="203.0.113.77"))["total"] == 0
        assert (await ask("bindings", offset=99))["bindings"] == []

    asking(tmp_path, scenario)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"limit": 1001}, "limit = 1001: expected a number from 0 to 1000"),
        ({"limit": -1}, "limit = -1: expected"),
        ({"offset": "x"}, "offset = 'x': expected"),
        ({"ipv4": "2001:db8::1"}, "ipv4 = '2001:db8::1': expected an IPv4 address"),
    ],
)
def test_wrong_questions_are_refused(
    tmp_path: Path, params: dict[str, object], problem: str
) -> None:
    async def scenario(_: Supervisor, ask: Ask) -> None:
        with pytest.raises(DstmError) as caught:
            await ask("bindings", **params)
        assert str(caught.value).startswith(problem)

    asking(tmp_path, scenario)


def test_counters_are_told_by_verdict_and_worker(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        ttl = np.array([Verdict.DROP_TTL], np.uint8)
        router.shared.counters.count(0, ttl, np.array([60]))
        router.shared.counters.count(1, ttl, np.array([100]))
        told = await ask("counters")
        assert [line["name"] for line in told["verdicts"]] == [v.name for v in Verdict]
        lines = [told["verdicts"], *told["workers"]]
        found = [line[Verdict.DROP_TTL] for line in lines]
        assert [(one["packets"], one["octets"]) for one in found] == [(2, 160), (1, 60), (1, 100)]
        assert found[0]["help"] == Verdict.DROP_TTL.help

    asking(tmp_path, scenario)


def test_ports_show_what_each_worker_told(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        [port] = (await ask("ports"))["ports"]
        assert (port["name"], port["link"], port["queues"]) == ("eth0", None, [])
        router.shared.noticeboard.post(1, {"ports": [{"mode": "generic"}]})
        [port] = (await ask("ports"))["ports"]
        assert port["queues"] == [{"worker": 1, "mode": "generic"}]

    asking(tmp_path, scenario)
