"""The demo as a newcomer starts it: to its end, interrupted, and with a router that dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.demo_traces import Traces
from lab.netns import NETNS_DIR, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]
DEMO = [sys.executable, "-m", "lab.demo"]
PATIENCE_S = 180.0  # 25 s alone


class Run:
    """A demo in its own process, and what it left."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._killer = threading.Timer(PATIENCE_S, self.process.kill)
        self._killer.start()

    def read_until(self, pattern: str) -> None:
        """Read on to a line that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if re.search(pattern, line):
                return
        pytest.fail(f"no line matches {pattern}:\n{self.text}")

    def finish(self) -> int:
        """Read to the end; the exit code."""
        assert self.process.stdout is not None
        self.lines += [line.rstrip() for line in self.process.stdout]
        return self.process.wait()

    @property
    def text(self) -> str:
        """All it wrote so far."""
        return "\n".join(self.lines)

    def namespaces(self) -> list[str]:
        """Those it has now."""
        return [path.name for path in NETNS_DIR.glob(f"dstm-{self.process.pid}-*")]

    def traces(self) -> Traces:
        """What it has now: namespaces, processes, BPF objects, files."""
        directory = re.search(r"/tmp/dstm-demo-\w+", self.text)
        assert directory is not None
        traces = Traces(paths={Path(directory[0])})
        traces.note(self.namespaces())
        return traces

    def close(self) -> None:
        """End it in any case."""
        self._killer.cancel()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.close()


def test_every_claim_holds(run: Run) -> None:
    assert run.finish() == 0, run.text
    assert "FAILED" not in run.text
    assert re.search(r"all \d+ claims held", run.lines[-1])
    for verdict in (
        "ENCAPSULATED",
        "DECAPSULATED",
        "HAIRPINNED",
        "DROP_NO_BINDING",
        "DROP_SPOOF_ADDRESS",
    ):
        assert f"the router counted {verdict}" in run.text
    for claim in (
        "client1 has a lease over TSP",
        "client2 has one over TSP inside TLS",
        "client1 has a lease over RPC",
        "dstm-client has renewed it",
        "the server has every lease",
        "the file came unchanged",
    ):
        assert f"  ok {claim}" in run.text
    assert run.namespaces() == []


def test_interrupted_it_leaves_nothing(run: Run) -> None:
    run.read_until("port4 is open")
    traces = run.traces()
    assert traces.bpf_left()
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == 128 + signal.SIGINT, run.text
    wait_until(lambda: not traces.left(), "end of everything")


def test_a_router_that_dies_is_a_failure_with_its_log(run: Run) -> None:
    run.read_until("port4 is open")
    traces = run.traces()
    (router,) = {pid for pid in traces.pids if "dstm-router run" in command(pid)}
    os.kill(router, signal.SIGKILL)
    assert run.finish() == 1, run.text
    assert " FAILED" in run.text
    assert re.search(r"--- dstm-router\.log\n.*forwarding", run.text, re.DOTALL)
    assert "nothing stays behind" in run.text.lower()
    wait_until(lambda: not traces.left(), "end of everything")


def command(pid: int) -> str:
    """Its words; none of a process that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
