"""What all tests share: root tests say why they are skipped, hypothesis is repeatable."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
from typing import TYPE_CHECKING

import coverage
import pytest
import zmq
import zmq.asyncio
from hypothesis import HealthCheck, settings

from lab import postgres as postgresql
from lab import uml

if TYPE_CHECKING:
    from collections.abc import Iterator

# Deadlines would make results depend on how busy the machine is; the same examples every time make
# a failure repeatable. HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A file runs in one process. What takes long and comes last keeps that one busy, the others not.
# Most of these wait more than they compute; between them are those that only compute.
LONG = (
    "tests/netns/test_client_leases.py",
    "tests/netns/test_router.py",
    "tests/lab/test_demo.py",
    "tests/pipeline/test_forward.py",
    "tests/perf/test_scripts.py",
    "tests/netns/test_interop.py",
    "tests/daemon/test_client_ip6tnl.py",
    "tests/pipeline/test_reassembly_bursts.py",
    "tests/netns/test_icmp.py",
    "tests/netns/test_interop_mtu.py",
    "tests/netns/test_jumbo.py",
    "tests/pipeline/test_bursts.py",
    "tests/netns/test_watching.py",
    "tests/daemon/test_client_daemon.py",
    "tests/daemon/test_server_restart.py",
    "tests/pipeline/test_usage.py",
    "tests/daemon/test_server_pair.py",
    "tests/netns/test_rpc_port_sets.py",
    "tests/netns/test_feed.py",
    "tests/leases/test_lending.py",
    "tests/netns/test_faults.py",
    "tests/vectors/test_rings.py",
    "tests/netns/test_kill.py",
    "tests/fuzz/test_frames.py",
    "tests/daemon/test_client.py",
    "tests/netns/test_port_sets.py",
    "tests/daemon/test_tsp_deployed.py",
    "tests/test_style.py",
    "tests/netns/test_filters.py",
    "tests/daemon/test_client_nat.py",
    "tests/daemon/test_server.py",
    "tests/pipeline/test_portsets.py",
    "tests/netns/test_interop_tsp.py",
    "tests/perf/rfc8219/test_command.py",
    "tests/netns/test_table.py",
    "tests/daemon/compiled/test_ringturn.py",
    "tests/lab/test_demo_stage.py",
    "tests/daemon/test_tsp_server.py",
    "tests/cli/test_program.py",
    "tests/protocols/test_lifecycle_promises.py",
    "tests/netns/test_tagged.py",
    "tests/netns/test_usage.py",
    "tests/netns/test_queues.py",
    "tests/pipeline/test_reassembly.py",
    "tests/netns/test_unit_capabilities.py",
    "tests/lab/test_uml.py",
    "tests/daemon/test_worker.py",
    "tests/config/test_load.py",
    "tests/netns/test_shortcomings.py",
    "tests/daemon/test_tsp_source_word.py",
    "tests/netns/test_shared_address.py",
    "tests/netns/test_legacy.py",
    "tests/perf/test_ratios.py",
    "tests/daemon/test_port_sets.py",
    "tests/netns/test_runtime.py",
    "tests/daemon/test_server_rpc.py",
)
PROGRAMS = ("ip", "ping", "ethtool", "curl")


def why_no_netns() -> str | None:
    """Why tests in network namespaces cannot run here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"needs {', '.join(missing)} (tools/setup.sh installs them)" if missing else None


def pytest_configure(config: pytest.Config) -> None:
    """Take SIGINT, which background jobs of a shell ignore, and so would what tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ours = coverage.Coverage.current()
    if ours is not None and config.getoption("numprocesses", None) and not is_xdist_worker(config):
        ours.stop()  # here are reports written: tests run in other processes


def is_xdist_worker(config: pytest.Config) -> bool:
    """Whether another process has this one run tests."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Seek no garbage while tests are read, a third of the time, nor ever among what is read."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long; skip what cannot run here, with the reason."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONG)))
    reasons = {"netns": why_no_netns(), "uml": why_no_netns() or uml.why_not()}
    for marker, reason in reasons.items():
        for item in items:
            if reason is not None and item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@contextlib.contextmanager
def unmeasured() -> Iterator[None]:
    """Coverage looks away, which takes a third of the CPU time of all that it sees, or half."""
    ours = coverage.Coverage.current()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # of programs that are started
        if ours is not None:
            ours.stop()
        yield
        if ours is not None:
            ours.start()


@pytest.fixture(autouse=True)
def _cpus() -> Iterator[None]:
    """Give the process its CPUs back: what a bench does in it stays on one."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def untraced() -> Iterator[None]:
    """Nothing in this file is measured by coverage.

    For files that run everything together, or many examples: what they run is measured where it is
    tested alone. Also for those that run nothing of what is measured.
    """
    with unmeasured():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Do not measure a test that is marked so; a fixture may not be one test's of many examples."""
    untraced = item.get_closest_marker("untraced") is not None
    with unmeasured() if untraced else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session", autouse=True)
def zmq_threads() -> None:
    """Start the I/O threads of the shared contexts here, in the namespace that all tests share.

    ZeroMQ starts them with the first socket, and they stay in the network namespace of that moment:
    after a test that was the first and had entered one of its own, no tcp:// would be reached.
    """
    zmq.Context.instance().socket(zmq.PAIR).close()
    zmq.asyncio.Context.instance().socket(zmq.PAIR).close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.Postgres]:
    """A PostgreSQL for all tests that ask it for a database."""
    if postgresql.program("postgres") is None:
        pytest.skip("needs PostgreSQL (tools/setup.sh installs it)")
    with postgresql.running() as cluster:
        yield cluster
