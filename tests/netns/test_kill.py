"""Processes of a router that are killed, under traffic: who notices, and what is left."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.topology import CLIENT1
from tests.netns.flows import Client, Flow
from tests.netns.gateway import FIRST4, Gateway, alive

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]
# What is promised of a worker that was killed, when nobody else keeps the CPUs busy; so it is the
# CPU time of the new one that must be less.
RESTART_S = 1.0
FLOWS_MAX = 64  # until both queues have one; a hash of the ports chooses


def worker_of(gateway: Gateway, flow: Flow) -> int:
    """Which worker forwards a flow."""

    def counts() -> list[int]:
        return [gateway.count("ENCAPSULATED", worker) for worker in (0, 1)]

    before = counts()
    gateway.wait_until(flow.passes, "a packet of the flow")
    # What arrives was counted before; a late one would be taken for one of the next flow.
    gateway.wait_until(lambda: flow.got[-1] == flow.sent - 1, "the last packet of the flow")
    after = counts()
    [worker] = [worker for worker in (0, 1) if after[worker] > before[worker]]
    return worker


@contextlib.contextmanager
def flow_of_each_worker(gateway: Gateway, client: Client) -> Iterator[dict[int, Flow]]:
    """One flow through each of two workers."""
    with contextlib.ExitStack() as undo:
        found: dict[int, Flow] = {}
        for _ in range(FLOWS_MAX):
            flow = undo.enter_context(Flow(gateway.topology, FIRST4, client))
            found.setdefault(worker_of(gateway, flow), flow)
            if len(found) == 2:
                break
        assert set(found) == {0, 1}
        yield found


@pytest.fixture(params=["auto", "packet_mmap"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(mode=request.param, workers=2) as made:
        made.start_router()
        made.bind()
        yield made


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def xdp_sockets(gateway: Gateway) -> int:
    return gateway.topology.router.run("ss", "--xdp", "--no-header").count("\n")


def engines(gateway: Gateway) -> list[str]:
    """What the workers forward with."""
    return [worker["engine"] for worker in gateway.ledgers()]


def cpu_s(pid: int) -> float:
    """CPU time that a process has taken; proc(5): utime and stime."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def kill_and_restart(gateway: Gateway, worker: int, flow: Flow) -> float:
    """Kill a worker; CPU seconds of the next one until both forward again."""
    killed = gateway.pids()[worker]
    os.kill(killed, signal.SIGKILL)
    gateway.wait_until(lambda: not alive(killed) and flow.passes(), "the flow after the kill")
    # With packet_mmap the flow may have gone over to the other worker before there is a new one.
    gateway.wait_until(lambda: gateway.pids().get(worker, killed) != killed, "another worker")
    gateway.wait_until(lambda: len(gateway.ledgers()) == 2, "notices of both workers")
    return cpu_s(gateway.pids()[worker])


def test_killed_worker_is_replaced_and_the_other_does_not_notice(gateway: Gateway) -> None:
    assert gateway.router is not None
    pid = gateway.router.pid
    before = descriptors(pid), xdp_sockets(gateway)
    took, counted = [], 0
    with Client(gateway.topology.client1) as client:
        for _ in range(3):
            # Loading compiled code takes a CPU for a moment, which nothing promises a restart.
            gateway.wait_until(lambda: engines(gateway) == ["compiled"] * 2, "compiled code")
            # Anew each time: with packet_mmap a worker that joins may take over other flows.
            with flow_of_each_worker(gateway, client) as flows:
                counted = max(counted, gateway.count("ENCAPSULATED", 0))
                other, first = gateway.pids()[1], flows[1].sent
                with flows[1].running():
                    took.append(kill_and_restart(gateway, 0, flows[0]))
                gateway.wait_until(lambda: flows[1].got[-1] == flows[1].sent - 1, "the last packet")
                lost = set(range(first, flows[1].sent)) - set(flows[1].got)
                assert not lost, f"lost in the other queue, of {flows[1].sent - first}"
                assert gateway.pids()[1] == other
    assert min(took) < RESTART_S
    assert gateway.status()["worker_deaths"] == 3
    assert [ledger["missing"] for ledger in gateway.ledgers()] == [0, 0]
    gateway.wait_until(lambda: xdp_sockets(gateway) == before[1], "as many sockets as before")
    assert descriptors(pid) <= before[0]
    assert gateway.count("ENCAPSULATED", 0) >= counted > 0
    assert gateway.bindings() == {FIRST4: CLIENT1}
    gateway.unbind()
    assert gateway.bindings() == {}


def discard_routes(gateway: Gateway) -> str:
    return gateway.topology.router.ip("-4", "route", "show", "type", "blackhole")


def test_killed_supervisor_leaves_nothing_and_can_be_restarted(gateway: Gateway) -> None:
    router = gateway.topology.router
    with (
        Client(gateway.topology.client1) as client,
        Flow(gateway.topology, FIRST4, client) as flow,
        flow.running(),
    ):
        gateway.wait_until(lambda: len(flow.got) > 20, "traffic")
        pids = gateway.pids().values()
        assert len(pids) == 2
        gateway.kill(gateway.router)
        gateway.wait_until(lambda: not any(alive(pid) for pid in pids), "end of the workers")
        # The kernel closes what a dead process had a moment after it is dead.
        gateway.wait_until(lambda: "xdp" not in router.ip("-d", "link"), "end of the programs")
        gateway.wait_until(lambda: xdp_sockets(gateway) == 0, "end of the sockets")
        assert "203.0.113.0/24" in discard_routes(gateway), "the pool would loop without a router"
        before = gateway.kernel_received()
        for number in range(50):
            client.send(FIRST4, "198.51.100.2", number)
        gateway.wait_until(
            lambda: gateway.kernel_received() - before >= 50, "packets for the kernel again"
        )
        gateway.start_router()
        gateway.bind()
        before_restart = len(flow.got)
        gateway.wait_until(lambda: len(flow.got) > before_restart + 20, "traffic again")
    assert gateway.stop_router() == 0
    assert discard_routes(gateway) == ""
