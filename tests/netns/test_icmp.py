"""What real hosts learn from our ICMP errors: traceroute, path MTU, unreachable, spoofed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lab.topology import CLIENT1, CLIENT2, FAR4, HOST4, TEP4
from tests.netns.conftest import LENT1, LENT2
from tests.netns.gateway import Gateway, no_ping, pings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

pytestmark = pytest.mark.netns
UNLEASED = "203.0.113.200"
ACCESS_PREFIXES = '[icmp]\naccess_prefixes = ["2001:db8::/32"]\n\n[[pool]]'


def hops(space: Namespace, target: str, *options: str) -> list[str]:
    """The addresses that a traceroute shows, one a hop."""
    said = space.run("traceroute", "-n", "-q", "1", "-w", "5", "-m", "5", *options, target)
    return [line.split()[1] for line in said.splitlines()[1:]]


def ping_says(space: Namespace, target: str, *options: str) -> str:
    return space.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "3", *options, target, check=False)


@pytest.mark.parametrize("options", [("-U", "-p", "33434"), ("-I",)], ids=["udp", "icmp"])
def test_r15_traceroute_shows_the_gateway_in_both_directions(
    served: Gateway, options: tuple[str, ...]
) -> None:
    lab = served.topology
    assert hops(lab.client1, FAR4, *options) == [TEP4, FAR4]
    assert hops(lab.client2, HOST4, *options) == [TEP4, HOST4]
    assert hops(lab.host4, LENT1, *options) == [TEP4, LENT1]
    assert hops(lab.client1, LENT2, *options) == [TEP4, LENT2]


def test_r18_ping_learns_the_mtu_of_the_tunnel(served: Gateway) -> None:
    said = ping_says(served.topology.host4, LENT1, "-M", "do", "-s", "1472")
    assert f"From {TEP4} " in said
    assert "mtu = 1460" in said
    assert pings(served.topology.host4, LENT1) == 5


def test_r3_nobodys_address_is_an_unreachable_host(served: Gateway) -> None:
    for space in (served.topology.host4, served.topology.client1):
        said = ping_says(space, UNLEASED)
        assert re.search(rf"From {TEP4} .*Destination Host Unreachable", said), said


def test_r22_a_smaller_link_in_the_access_network_is_told_to_the_internet(
    served: Gateway,
) -> None:
    lab = served.topology
    lab.access.ip("link", "set", "dev", "toclient2", "mtu", "1400")
    try:
        with served.counting("SENT_RELAYED_TOO_BIG", 1):
            said = ping_says(lab.host4, LENT2, "-M", "do", "-s", "1372")
        assert f"From {TEP4} " in said
        assert "mtu = 1360" in said or "mtu=1360" in said
    finally:
        lab.access.ip("link", "set", "dev", "toclient2", "mtu", "1500")
        lab.host4.ip("route", "flush", "cache")
    assert pings(lab.host4, LENT2) == 5


def test_r22_a_client_that_cannot_be_reached_is_an_unreachable_host(served: Gateway) -> None:
    lab = served.topology
    lab.access.ip("-6", "route", "add", "unreachable", f"{CLIENT2}/128")
    try:
        said = ping_says(lab.host4, LENT2)
    finally:
        lab.access.ip("-6", "route", "del", "unreachable", f"{CLIENT2}/128")
    assert re.search(rf"From {TEP4} .*Destination Host Unreachable", said), said
    assert pings(lab.host4, LENT2) == 5


@pytest.fixture
def strict() -> Iterator[Gateway]:
    """A router that tells spoofers."""
    with Gateway(changes={"[[pool]]": ACCESS_PREFIXES}) as gateway:
        gateway.start_router()
        gateway.start_client(gateway.topology.client1, LENT1, CLIENT1)
        yield gateway


def unreachables6(space: Namespace) -> int:
    """ICMPv6 destination unreachable messages that a kernel has got and understood."""
    for line in space.run("cat", "/proc/net/snmp6").splitlines():
        if line.startswith("Icmp6InDestUnreachs"):
            return int(line.split()[1])
    raise AssertionError("no such counter")


def test_r12_a_spoofer_is_told_so_and_its_kernel_understands(strict: Gateway) -> None:
    client1 = strict.topology.client1
    before = unreachables6(client1)
    with strict.counting("SENT_ICMPV6_SPOOF", 3):
        assert no_ping(client1, HOST4, 3)
    strict.wait_until(lambda: unreachables6(client1) - before == 3, "ICMPv6 1/5 at the client")
