"""Namespaces begin and end as promised, also when things go wrong."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab import netns
from lab.netns import Lab, LabError, interfaces, remove_leftovers, stop, veth, wait_until


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_run_returns_what_was_printed() -> None:
    assert netns.run("sh", "-c", "echo out; echo err >&2") == "out\nerr\n"


def test_failures_show_command_and_output() -> None:
    with pytest.raises(LabError, match=r"sh -c echo why; exit 3: exit code 3\nwhy"):
        netns.run("sh", "-c", "echo why; exit 3")
    assert netns.run("sh", "-c", "echo why; exit 3", check=False) == "why\n"
    with pytest.raises(LabError, match=r"sleep 60: no end after 0\.1 s"):
        netns.run("sleep", "60", timeout_s=0.1)


def test_wait_until_names_what_did_not_come() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), "third time")
    with pytest.raises(LabError, match=r"rain: not within 0\.05 s"):
        wait_until(lambda: False, "rain", timeout_s=0.05)


def test_stop_kills_what_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "STOP_TIMEOUT_S", 0.2)
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('on', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    assert stop(process) == -signal.SIGKILL
    assert stop(process) == -signal.SIGKILL
    assert process.stdout.closed


@pytest.mark.netns
def test_two_namespaces_talk_and_leave_nothing() -> None:
    with Lab() as lab:
        one, other = lab.namespace("one"), lab.namespace("other")
        veth((one, "a"), (other, "b"), mtu=1400, queues=2)
        one.address("a", "2001:db8::1/64", "192.0.2.1/24")
        other.address("b", "2001:db8::2/64", "192.0.2.2/24")
        one.route("blackhole", "203.0.113.0/24")
        assert "1 received" in one.run("ping", "-c", "1", "-W", "2", "2001:db8::2")
        assert "1 received" in other.run("ping", "-c", "1", "-W", "2", "192.0.2.1")
        assert interfaces(one) == ["lo", "a"]
        assert "mtu 1400" in other.ip("link", "show", "b")
        assert "blackhole 203.0.113.0/24" in one.ip("route")
        features = one.run("ethtool", "-k", "a")
        assert "tx-checksumming: off" in features
        assert "generic-segmentation-offload: off" in features
    assert not Path("/run/netns", one.name).exists()
    assert not Path("/run/netns", other.name).exists()
    lab.close()


@pytest.mark.netns
def test_sockets_belong_to_the_namespace_they_were_made_in() -> None:
    with Lab() as lab:
        space = lab.namespace("here")
        space.address("lo", "192.0.2.9/32")
        with space.entered():
            listener = socket.create_server(("192.0.2.9", 7))
        with listener:
            with pytest.raises(OSError, match="Cannot assign"):
                socket.create_server(("192.0.2.9", 7))
            with space.entered():
                socket.create_connection(("192.0.2.9", 7), timeout=2).close()


@pytest.mark.netns
def test_an_error_inside_still_goes_home() -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    with Lab() as lab:
        space = lab.namespace("here")
        with contextlib.suppress(KeyError), space.entered():
            assert Path("/proc/thread-self/ns/net").readlink() != home
            raise KeyError
    assert Path("/proc/thread-self/ns/net").readlink() == home


@pytest.mark.netns
def test_processes_end_with_the_lab_even_children_that_were_forgotten() -> None:
    with Lab() as lab:
        space = lab.namespace("here")
        shell = space.popen("sh", "-c", "sleep 600 & wait", start_new_session=True)
        wait_until(lambda: len(netns.pids_in(space.name)) == 2, "shell and sleep")
        pids = netns.pids_in(space.name)
        assert shell.pid in pids
    assert not any(alive(pid) for pid in pids)


@pytest.mark.netns
def test_the_next_lab_removes_what_a_killed_one_left() -> None:
    code = (
        "from lab.netns import Lab, pids_in, wait_until; import os, subprocess\n"
        "space = Lab().namespace('left')\n"
        "space.popen('sleep', '600', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "wait_until(lambda: pids_in(space.name), 'the orphan')\n"
        "print(space.name, *pids_in(space.name), flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    name, *orphans = killed.stdout.split()
    assert killed.returncode == -signal.SIGKILL
    assert orphans
    # The lab of a test beside this one may be the next, and have done it already.
    with Lab() as lab:
        mine = lab.namespace("mine").name
        assert not Path("/run/netns", name).exists()
        assert mine not in remove_leftovers()
        assert Path("/run/netns", mine).exists()
    assert not any(alive(int(pid)) for pid in orphans)


@pytest.mark.netns
def test_an_error_while_building_removes_what_is_there() -> None:
    with Lab() as lab:
        space = lab.namespace("same")
        with pytest.raises(LabError, match="File exists"):
            lab.namespace("same")
        assert Path("/run/netns", space.name).exists()
    assert not Path("/run/netns", space.name).exists()
