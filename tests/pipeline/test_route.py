from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address

import pytest

from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled


@cache
def machine() -> Machine:
    return Machine(worlds.world())


def routed(*frames: bytes) -> list[tuple[str, int | None]]:
    fates = machine().run(frames, worlds.ACCESS, worlds.NOW_S)
    return [(fate.verdict, fate.port) for fate in fates]


@pytest.mark.parametrize(
    ("dst", "verdict", "port"),
    [
        ("8.8.8.8", "DECAPSULATED", worlds.INTERNET),
        ("10.0.255.255", "DECAPSULATED", worlds.INTERNET),
        ("10.1.0.0", "DECAPSULATED", worlds.SMALL),
        ("10.1.2.2", "DECAPSULATED", worlds.SMALL),
        ("10.1.2.3", "DECAPSULATED", worlds.INTERNET),  # the longer prefix
        ("10.1.255.255", "DECAPSULATED", worlds.SMALL),
        ("10.2.0.0", "DROP_NEIGHBOUR", None),
        ("10.3.0.0", "DROP_NEIGHBOUR", None),
        ("10.4.0.0", "DROP_UNREACHABLE", None),
        ("10.5.0.0", "DROP_LOCAL", None),
        ("10.6.0.0", "DECAPSULATED", worlds.INTERNET),
        ("203.0.112.255", "DECAPSULATED", worlds.INTERNET),
        ("198.51.100.63", "DECAPSULATED", worlds.INTERNET),  # the same /24 as a pool
        ("192.0.2.2", "DECAPSULATED", worlds.INTERNET),  # the same /24 as tep4
    ],
)
def test_the_longest_prefix_leads_the_way(dst: str, verdict: str, port: int | None) -> None:
    assert routed(tunnelled(dst=dst)) == [(verdict, port)]


def test_one_burst_takes_many_ways() -> None:
    found = routed(*[tunnelled(dst=dst) for dst in ("10.1.0.1", "8.8.8.8", "10.4.0.1", "10.1.0.2")])
    assert [port for _, port in found] == [worlds.SMALL, worlds.INTERNET, None, worlds.SMALL]


def test_the_mtu_of_the_link_is_that_of_the_way_out() -> None:
    def of_size(octets: int, dst: str) -> bytes:
        return ether(ipv6(ipv4(worlds.leased(1), dst, bytes(octets - 20))))

    fits, too_big, elsewhere = (
        of_size(600, "10.1.0.1"),
        of_size(601, "10.1.0.1"),
        of_size(601, "8.8.8.8"),
    )
    assert routed(fits, too_big, elsewhere) == [
        ("DECAPSULATED", worlds.SMALL),
        ("DROP_TOO_BIG_V4", None),
        ("DECAPSULATED", worlds.INTERNET),
    ]


def test_the_kernel_is_asked_for_on_link_neighbours_only() -> None:
    routed(*[tunnelled(dst=dst) for dst in ("10.2.0.1", "10.3.0.7", "8.8.8.8", "10.3.0.9")])
    asked = [IPv4Address(int(a)) for column in machine().outcome.gleaned for a in column]
    assert asked == [IPv4Address("10.3.0.7"), IPv4Address("10.3.0.9")]
    routed(tunnelled())
    assert machine().outcome.gleaned == []


def test_frames_leave_with_the_addresses_of_hop_and_port() -> None:
    (fate,) = machine().run([tunnelled(dst="10.1.0.1")], worlds.ACCESS, worlds.NOW_S)
    inner = packets.ipv4(worlds.leased(1), "10.1.0.1", ttl=63)
    assert fate.frame == bytes.fromhex("0200000000c1" + "020000000003" + "0800") + inner
