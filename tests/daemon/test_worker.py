"""Worker processes by themselves, as the supervisor starts them."""

from __future__ import annotations

import dataclasses
import gc
import os
import re
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.engine import Engine
from dstmrouter.daemon.plan import write_plan
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.daemon.worker import compile_for
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from lab.netns import PATIENCE_S, Lab, Namespace, veth, wait_until
from lab.ringport import RingPort
from tests.daemon.plans import SIZES, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.daemon.plan import WorkerPlan

pytestmark = pytest.mark.netns
ACCEPT = struct.pack("=HBBI", 0x06, 0, 0, 0xFFFF)  # classic BPF: ret #65535


@pytest.fixture(scope="module")
def space() -> Iterator[Namespace]:
    with Lab() as lab:
        near, far = lab.namespace("near"), lab.namespace("far")
        veth((near, "near"), (far, "far"))
        near.address("near", "192.0.2.1/24")
        far.address("far", "192.0.2.2/24")
        yield near


@pytest.fixture
def shared() -> SharedTables:
    made = SharedTables.create(SIZES)
    made.tables.hops.lay_out()
    made.tables.bindings.lay_out([], None)
    made.tables.ports.set(0, mac=bytes(6), mtu=1500, vlan=None)
    return made


def start(space: Namespace, wanted: WorkerPlan) -> subprocess.Popen[str]:
    fd = write_plan(wanted)
    command = [sys.executable, "-m", "dstmrouter.daemon.worker", str(fd)]
    process: subprocess.Popen[str] = space.popen(
        *command,
        pass_fds=[fd, *wanted.descriptors()],
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(fd)
    return process


def notice(shared: SharedTables, after_s: float = -1) -> dict[str, Any]:
    """Wait for a notice of worker 0 that is younger than `after_s`."""
    wait_until(lambda: shared.noticeboard.read(0).get("at_s", -1) > after_s, "a notice")
    return shared.noticeboard.read(0)


def test_worker_tells_of_itself_and_ends_in_order(space: Namespace, shared: SharedTables) -> None:
    wanted = plan(shared, "near")
    process = start(space, wanted)
    told = notice(shared)
    assert told["pid"] == process.pid
    assert (told["frames"], told["missing"]) == (256, 0)
    assert [port["mode"] for port in told["ports"]] == ["packet_mmap"]
    assert os.sched_getaffinity(process.pid) == {wanted.cpu}
    wait_until(lambda: notice(shared)["engine"] == "compiled", "the compiled code")
    process.send_signal(signal.SIGINT)  # Ctrl-C in a terminal comes to workers as well
    notice(shared, told["at_s"])
    process.terminate()
    assert process.wait(10) == 0
    assert re.fullmatch(r"(worker 0: compiled in \d+ s\n)?", process.communicate()[1])
    assert shared.turns.passed(shared.turns.snapshot())


def test_worker_counts_what_it_receives(space: Namespace, shared: SharedTables) -> None:
    process = start(space, plan(shared, "near"))
    notice(shared)
    space.run("ping", "-c", "2", "-i", "0.01", "192.0.2.2")
    wait_until(lambda: int(shared.counters.totals()[0].sum()) >= 2, "packets counted")
    assert not shared.counters.values[1].any()
    process.terminate()
    assert process.wait(10) == 0


def test_port_that_cannot_be_opened_is_one_line(space: Namespace, shared: SharedTables) -> None:
    process = start(space, plan(shared, "nonexistent"))
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1
    assert said.startswith("dstm-router worker 0: ")
    assert "nonexistent" in said
    assert said.count("\n") == 1


def test_worker_without_its_parent_ends_at_once(space: Namespace, shared: SharedTables) -> None:
    process = start(space, dataclasses.replace(plan(shared, "near"), parent=1))
    assert process.wait(20) == 1
    assert shared.noticeboard.read(0) == {}


def test_worker_forwards_with_numpy_alone_where_that_is_wanted(
    space: Namespace, shared: SharedTables
) -> None:
    process = start(space, dataclasses.replace(plan(shared, "near"), compiled=False))
    told = notice(shared)
    assert notice(shared, told["at_s"] + 1)["engine"] == "numpy"
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.parametrize(("filter_in", "rings"), [(b"", True), (ACCEPT, False)])
def test_where_nothing_stands_between_the_turn_is_compiled(
    shared: SharedTables, filter_in: bytes, *, rings: bool
) -> None:
    made = plan(shared, "near")
    ports = tuple(dataclasses.replace(port, filter_in=filter_in) for port in made.ports)
    made = dataclasses.replace(made, ports=ports)
    umem = Umem(256)
    steps = Forwarder(FrameMemory(umem.memory), shared.tables, made.rules, umem.pool)
    engine = Engine(umem, [RingPort(umem, "near")], steps, shared.counters)
    done: list[str] = []
    load = compile_for(engine, steps, shared, made, lambda: done.append(engine.forwarder.engine))
    load.join(60)
    gc.unfreeze()  # this is no worker
    assert done == ["compiled"]
    assert engine.forwarder.engine == "compiled"
    assert (engine.handover is not None) is rings
