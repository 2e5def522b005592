"""The user-mode Linux boots, talks to the host's kernel over IPv6, tunnels, and ends."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import topology
from lab.netns import LabError, pids_in, wait_until
from lab.topology import Topology
from lab.uml import Uml

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.uml]
ADDRESS = "2001:db8:1::33"


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology.build() as built:
        yield built


@pytest.fixture(scope="module")
def guest(net: Topology) -> Iterator[Uml]:
    with Uml(*net.attach("uml")) as running:
        running.address(f"{ADDRESS}/64", topology.ROUTER6)
        yield running


def test_ping_between_the_two_kernels(net: Topology, guest: Uml) -> None:
    assert "1 received" in guest.run(f"ping -c 1 -W 5 {topology.CLIENT2}")
    assert "1 received" in net.client2.run("ping", "-c", "1", "-W", "5", ADDRESS)


def test_output_and_exit_code_come_back(guest: Uml) -> None:
    assert guest.run("echo one; echo two >&2") == "one\ntwo\n"
    assert guest.run("true") == ""
    with pytest.raises(LabError, match=r"exit code 7\nwhy"):
        guest.run("echo why\nexit 7")
    assert guest.run("false; echo not reached", check=False) == ""
    assert len(guest.run("head -c 100000 /dev/zero | tr '\\0' x")) == 100000


def test_a_command_without_end_is_reported_and_the_guest_stays_usable(guest: Uml) -> None:
    with pytest.raises(LabError, match=r"silent for 0\.2 s"):
        guest.run("sleep 1; echo late", timeout_s=0.2)
    assert guest.run("echo next") == "next\n"


@pytest.mark.parametrize(
    ("limit", "next_header"),
    [(None, 4), (4, 60)],  # IPv4 at once, or a destination options header before it
)
def test_ip6tnl_sends_ipv4_in_ipv6(
    net: Topology, guest: Uml, limit: int | None, next_header: int
) -> None:
    guest.tunnel("203.0.113.33", ADDRESS, topology.CLIENT1, encapsulation_limit=limit)
    outer = f"ip6 proto {next_header} and src {ADDRESS}"
    capture = net.client1.popen(
        "tcpdump", "-c", "1", "-l", "-i", "eth0", outer, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert capture.stdout is not None
    while "listening" not in capture.stdout.readline():
        assert capture.poll() is None
    guest.run("ping -c 1 -W 1 192.0.2.129 || ip link del dti0")
    assert capture.wait(10) == 0
    assert "203.0.113.33 > 192.0.2.129: ICMP echo request" in capture.stdout.read()


def test_nothing_is_left_when_it_is_switched_off(net: Topology) -> None:
    space, interface = net.attach("other")
    guest = Uml(space, interface)
    scratch = guest._scratch
    assert pids_in(space.name)
    guest.close()
    guest.close()
    wait_until(lambda: not pids_in(space.name), "end of its processes")
    assert not scratch.exists()
    with pytest.raises(LabError, match="has ended"):
        guest.run("true")


def test_a_guest_that_cannot_boot_shows_its_console(net: Topology) -> None:
    space = net.lab.namespace("empty")
    with Uml(space, "missing") as guest, pytest.raises(LabError, match="vec0"):
        guest.address(f"{ADDRESS}/64", topology.ROUTER6)
    assert not guest._scratch.exists()
