"""What is left is found, whatever it is: so that nothing found means nothing is left."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from dstmrouter.io.bpf import Map
from dstmrouter.io.steering import TEP6_MAP
from lab.demo_traces import Traces, bpf_lives, bpf_objects_of
from lab.netns import Lab, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.netns


def test_namespaces_processes_and_files(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    directory.mkdir()
    traces = Traces(paths={directory})
    with Lab() as lab:
        space = lab.namespace("one")
        process = space.popen("sleep", "60")
        wait_until(lambda: process.pid in traces_of(space.name).pids, "start of sleep")
        traces.note([space.name])
        assert traces.namespaces_left() == [space.name]
        (sleeping,) = traces.processes_left()
        assert sleeping.startswith(f"{process.pid}: ")
        assert len(traces.left()) == 3
    assert traces.left() == [str(directory)]
    directory.rmdir()
    assert traces.left() == []


def traces_of(namespace: str) -> Traces:
    traces = Traces()
    traces.note([namespace])
    return traces


def test_bpf_objects() -> None:
    with Lab() as lab:
        space = lab.namespace("one")
        with Map.create(TEP6_MAP, "traces") as table:
            holder = space.popen("sleep", "60", pass_fds=[table.fileno()])
            wait_until(lambda: bpf_objects_of(holder.pid), "the holder's descriptors")
            wait_until(lambda: traces_of(space.name).bpf, "the holder in its namespace")
        traces = traces_of(space.name)
        ((kind, number),) = traces.bpf
        assert kind == "map"
        assert bpf_lives(kind, number)
        assert traces.bpf_left() == [f"map {number}"]
    wait_until(lambda: not traces.bpf_left(), "end of the map")


def test_a_process_that_is_gone_holds_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert bpf_objects_of(process.pid) == set()
