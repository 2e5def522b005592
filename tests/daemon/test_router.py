"""The supervisor's decisions; how it behaves with a kernel is in tests/netns/test_router.py."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_router
from dstmrouter.daemon.plan import PortPlan
from dstmrouter.daemon.router import Supervisor
from dstmrouter.daemon.tunnel_rules import tunnel_rules
from tests.config.documents import ROUTER, edited

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.router import RouterConfig


def config(path: Path, extra: str = "", tunnel: str = "") -> RouterConfig:
    text = edited(ROUTER, 'name = "gw1"', f'name = "gw1"\n{extra}')
    path.joinpath("router.toml").write_text(edited(text, "[tunnel]", f"[tunnel]\n{tunnel}"))
    return load_router(path / "router.toml")


def test_rules_follow_the_configuration(tmp_path: Path) -> None:
    found = tunnel_rules(
        config(tmp_path, tunnel='hop_limit = 9\ndscp = "pipe"\nflow_label = 5\nhairpin = false')
    )
    assert (found.hop_limit, found.dscp_uniform, found.flow_label) == (9, False, 5)
    assert not found.hairpin
    assert [str(address) for address in found.tep6] == ["2001:db8:f::1"]


def test_flow_labels_have_a_new_secret_in_every_run(tmp_path: Path) -> None:
    wanted = config(tmp_path)
    assert tunnel_rules(wanted).flow_label is None
    assert tunnel_rules(wanted).flow_key != tunnel_rules(wanted).flow_key


@pytest.mark.parametrize(
    ("extra", "cpus"),
    [
        ("workers = 2\ncpus = [5, 3]", [5, 3]),
        (
            "workers = 3",
            [sorted(os.sched_getaffinity(0))[n % len(os.sched_getaffinity(0))] for n in range(3)],
        ),
    ],
)
def test_every_worker_has_its_cpu_and_queue(tmp_path: Path, extra: str, cpus: list[int]) -> None:
    async def scenario() -> None:
        port = PortPlan(
            interface="eth0",
            mode="auto",
            xskmap_fd=None,
            filter_fd=None,
            fanout_group=None,
            busy_poll_us=0,
        )
        plans = Supervisor(config(tmp_path, extra))._plans([port])
        assert [plan.cpu for plan in plans] == cpus
        assert [plan.worker for plan in plans] == list(range(len(cpus)))
        assert {plan.parent for plan in plans} == {os.getpid()}
        assert len({plan.rules.flow_key for plan in plans}) == 1  # a flow has one label

    asyncio.run(scenario())


def test_clock_starts_with_the_router(tmp_path: Path) -> None:
    async def scenario() -> None:
        router = Supervisor(config(tmp_path))
        assert router.now_s() == 0
        router.clock_zero -= 100
        assert router.now_s() == 100

    asyncio.run(scenario())
