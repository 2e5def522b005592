"""Real clients in namespaces; the gateway is another client, mirrored (a tunnel has two ends)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon import client
from dstmrouter.daemon.dti_link import AUTO
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import DstmError
from lab.transfer import download, random_file, serve
from tests.daemon.client_process import LEASE, MIRROR, Process
from tests.dti.conftest import CLIENT4, CLIENT6, TEP4, TEP6, Wire, wire

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["wire"]  # a fixture

DOWNLOAD_LEN = 3_000_000  # octets
WANTED = Tunnel(
    client4=CLIENT4, client6=CLIENT6, tep6=TEP6, tep4=TEP4, routes=(IPv4Network("0.0.0.0/0"),)
)

pytestmark = pytest.mark.netns


def start_ours(wire: Wire, tmp_path: Path, *options: object) -> Process:
    return Process(wire.client, tmp_path / "run", *LEASE, "--route", "default", *options)


@pytest.fixture
def gateway(wire: Wire, tmp_path: Path) -> Process:
    mirrored = Process(wire.tep, tmp_path / "gateway", *MIRROR, "--backend", "tun")
    assert mirrored.is_up(), mirrored.said()
    return mirrored


def nothing_left(wire: Wire, run_dir: Path) -> bool:
    links = wire.client.ip("link", "show")
    routes = wire.client.ip("-4", "route", "show")
    return "dti0" not in links and not routes.strip() and not list(run_dir.iterdir())


@pytest.mark.usefixtures("gateway")
def test_ping_and_tcp_both_ways_then_a_clean_stop(wire: Wire, tmp_path: Path) -> None:
    # no default route: the HTTP server inside would ask the DNS for its name
    ours = Process(wire.client, tmp_path / "run", *LEASE, "--route", "198.51.100.0/24")
    assert ours.is_up(), ours.said()
    assert "mtu 1460" in wire.client.ip("link", "show", "dti0")
    wire.client.run("ping", "-c", "2", "-i", "0.2", str(TEP4))
    wire.tep.run("ping", "-c", "1", "-s", "1472", "-M", "dont", str(CLIENT4))  # in fragments
    files = tmp_path / "files"
    files.mkdir()
    digest = random_file(files / "data", DOWNLOAD_LEN)
    for ours_serves, space, fetcher, address in (
        (False, wire.tep, wire.client, TEP4),
        (True, wire.client, wire.tep, CLIENT4),
    ):
        url = serve(space, files, str(address))
        assert download(fetcher, f"{url}/data", tmp_path / f"got{ours_serves}") == digest
    assert ours.end() == 0
    assert "in_delivered=" in ours.said()
    assert nothing_left(wire, tmp_path / "run")


@pytest.mark.usefixtures("gateway")
def test_segments_joined_by_receive_offload_are_not_lost(wire: Wire, tmp_path: Path) -> None:
    """GRO joins tunnelled TCP segments and leaves their checksum open; the host must accept it."""
    ours = start_ours(wire, tmp_path, "--backend", "tun")
    assert ours.is_up(), ours.said()
    wire.client.run("ethtool", "-K", "eth0", "gro", "on")
    # packets wait 2 ms for company, so that some is sure to come
    wire.client.run("sh", "-c", "echo 2000000 > /sys/class/net/eth0/gro_flush_timeout")
    files = tmp_path / "files"
    files.mkdir()
    digest = random_file(files / "data", DOWNLOAD_LEN)
    url = serve(wire.tep, files, str(TEP4))
    assert download(wire.client, f"{url}/data", tmp_path / "got", timeout_s=20) == digest
    counters = client.status("dti0", tmp_path / "run")["counters"]["in_delivered"]
    assert counters["octets"] > 3000 * counters["packets"]  # else nothing was joined


def test_after_kill_9_a_new_start_works_and_stops_clean(wire: Wire, tmp_path: Path) -> None:
    first = start_ours(wire, tmp_path)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert (tmp_path / "run" / "dti0.json").exists()
    assert client.status("dti0", tmp_path / "run")["running"] is False
    second = start_ours(wire, tmp_path)
    assert second.is_up(), second.said()
    assert wire.client.ip("-4", "address", "show", "dev", "dti0").count("inet ") == 1
    assert wire.client.ip("-4", "route", "show").count("default") == 1
    assert second.end(signal.SIGINT) == 0
    assert nothing_left(wire, tmp_path / "run")


def test_a_module_that_is_not_there_is_told(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODPROBE_OPTIONS", f"--dirname={tmp_path}")
    ours = start_ours(wire, tmp_path, "-load")
    assert ours.is_up(), ours.said()
    assert "no kernel module" in ours.said()
    assert f"Module ip6_tunnel not found in directory {tmp_path}" in ours.said()


def test_a_second_client_of_the_name_is_refused(wire: Wire, tmp_path: Path) -> None:
    first = start_ours(wire, tmp_path)
    (tmp_path / "run.log").rename(tmp_path / "first.log")
    second = start_ours(wire, tmp_path)
    assert second.process.wait(10) == 1
    assert second.said().splitlines() == [
        f"dstm-client: dti0 is in use by another dstm-client ({tmp_path}/run/dti0.json)"
    ]
    elsewhere = Process(wire.client, tmp_path / "other", *LEASE)
    assert elsewhere.process.wait(10) == 1
    assert "interface dti0 is in use by another client" in elsewhere.said()
    assert first.is_up()
    assert "dti0" in wire.client.ip("link", "show")


def test_an_interface_of_others_is_refused_and_not_touched(wire: Wire, tmp_path: Path) -> None:
    wire.client.ip("tuntap", "add", "mode", "tun", "name", "dti0")
    wire.client.address("dti0", "203.0.113.1/32")
    before = wire.client.ip("address", "show", "dev", "dti0")
    ours = start_ours(wire, tmp_path)
    assert ours.process.wait(10) == 1
    assert "dti0 exists and is not ours" in ours.said()
    assert wire.client.ip("address", "show", "dev", "dti0") == before
    with wire.client.entered():
        assert client.down("dti0", tmp_path / "run") == "dti0: nothing to remove"
    assert wire.client.ip("address", "show", "dev", "dti0") == before


def test_what_fails_halfway_is_undone(wire: Wire, tmp_path: Path) -> None:
    ours = start_ours(wire, tmp_path, "--verbose", "--backend", "tun", "--interface", "none0")
    assert ours.process.wait(10) == 1
    assert "add route 0.0.0.0/0" in ours.said()
    assert "2001:db8:f::1: No such device" in ours.said().splitlines()[-1]
    assert nothing_left(wire, tmp_path / "run")


def test_a_deleted_interface_ends_the_client(wire: Wire, tmp_path: Path) -> None:
    ours = start_ours(wire, tmp_path)
    assert ours.is_up(), ours.said()
    wire.client.ip("link", "delete", "dti0")
    assert ours.process.wait(10) == 1
    assert ours.said().splitlines()[-1].startswith("dstm-client: read from the tunnel interface")
    assert nothing_left(wire, tmp_path / "run")


def test_native_ipv4_is_not_replaced(wire: Wire, tmp_path: Path) -> None:
    wire.client.address("eth0", "198.51.100.7/24")
    wire.client.route("default", "via", "198.51.100.1")
    ours = start_ours(wire, tmp_path)
    assert ours.process.wait(10) == 1
    assert "a route to 0.0.0.0/0 through eth0 exists" in ours.said()
    assert "via 198.51.100.1" in wire.client.ip("route", "show", "default")


def test_down_stops_a_running_client(wire: Wire, tmp_path: Path) -> None:
    ours = start_ours(wire, tmp_path)
    status = client.status("dti0", tmp_path / "run")
    assert (status["running"], status["pid"]) == (True, ours.process.pid)
    said = client.down("dti0", tmp_path / "run")
    assert said == f"dti0: client {ours.process.pid} stopped"
    assert ours.process.wait(10) == 0
    assert nothing_left(wire, tmp_path / "run")
    with pytest.raises(DstmError, match="no dstm-client has dti0"):
        client.status("dti0", tmp_path / "run")


def test_a_rehearsal_changes_nothing(wire: Wire, tmp_path: Path) -> None:
    with wire.client.entered():
        steps = client.rehearse(WANTED, [Kind.TUN], tmp_path)
    assert steps[0].startswith("create tun dti0")
    assert steps[-1] == "add route 0.0.0.0/0 through dti0"
    assert "dti0" not in wire.client.ip("link", "show")
    ours = start_ours(wire, tmp_path)
    assert ours.is_up(), ours.said()
    with pytest.raises(DstmError, match="in use"):
        client.rehearse(WANTED, [Kind.TUN], tmp_path / "run")


def test_run_in_this_process(wire: Wire, tmp_path: Path) -> None:
    """The loop ends by a signal that arrived even before it began."""
    with wire.client.entered():
        former = signal.getsignal(signal.SIGTERM)
        other = subprocess.Popen(
            [sys.executable, "-c", WHEN_UP, str(os.getpid()), str(tmp_path / "run" / "dti0.json")],
        )
        try:
            client.run(WANTED, AUTO, tmp_path / "run")
        finally:
            assert other.wait(20) == 0
        assert signal.getsignal(signal.SIGTERM) is former
    assert nothing_left(wire, tmp_path / "run")


WHEN_UP = """
import os, signal, sys, time
from pathlib import Path
deadline = time.monotonic() + 20
while not (Path(sys.argv[2]).exists() and Path(sys.argv[2]).read_text()):
    assert time.monotonic() < deadline
    time.sleep(0.01)
os.kill(int(sys.argv[1]), signal.SIGTERM)
"""
