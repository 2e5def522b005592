"""Who goes before whom while a worker has real-time priority."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perf.rfc8219 import bench, realtime
from perf.rfc8219.realtime import KTHREADD, LONGEST_S, THREAD_NAMES, grace_period_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority needs root")


@pytest.fixture
def pids() -> Iterator[tuple[int, int]]:
    """Two processes that sleep, one for the worker and one for the kernel's thread."""
    with subprocess.Popen(["sleep", "60"]) as worker, subprocess.Popen(["sleep", "60"]) as thread:
        try:
            yield worker.pid, thread.pid
        finally:
            worker.kill()
            thread.kill()


def priority_of(pid: int) -> int:
    return os.sched_getparam(pid).sched_priority


@needs_root
def test_grace_periods_go_before_the_worker_and_then_as_before(
    pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, thread = pids
    monkeypatch.setattr(realtime, "grace_period_thread", lambda: thread)
    with realtime.realtime(worker):
        assert {os.sched_getscheduler(pid) for pid in pids} == {os.SCHED_FIFO}
        assert priority_of(thread) > priority_of(worker) > 0
    assert os.sched_getscheduler(thread) == os.SCHED_OTHER


@needs_root
def test_a_thread_that_has_a_priority_keeps_it(
    pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, thread = pids
    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(7))
    monkeypatch.setattr(realtime, "grace_period_thread", lambda: thread)
    with realtime.realtime(worker):
        assert priority_of(thread) == 7
    assert priority_of(thread) == 7


@needs_root
def test_where_no_thread_can_be_seen_the_worker_has_priority_all_the_same(
    pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "grace_period_thread", lambda: None)
    with realtime.realtime(pids[0]):
        assert priority_of(pids[0]) > 0


def test_the_thread_is_one_of_the_kernel() -> None:
    thread = grace_period_thread()
    if thread is None:
        pytest.skip("its threads cannot be seen here")
    status = Path(f"/proc/{thread}/status").read_text()
    assert status.split()[1] in THREAD_NAMES
    assert f"PPid:\t{KTHREADD}\n" in status


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ([], 1.0),
        (["--realtime"], LONGEST_S),
        (["--realtime", "--seconds", "3"], 3.0),
        (["--realtime", "--quick"], 0.2),
        (["--rfc"], 120.0),
    ],
)
def test_trials_end_before_the_kernel_lets_others_have_the_cpu(
    words: list[str], seconds: float
) -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    args = parser.parse_args(words)
    bench.settle_arguments(args)
    assert args.seconds == seconds
