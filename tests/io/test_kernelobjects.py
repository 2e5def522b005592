from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network

import pytest

from dstmrouter.io.kernelobjects import (
    Address,
    KernelObject,
    Link,
    Neighbour,
    Notice,
    Part,
    Route,
    RouteKind,
)

IP = IPv4Address("192.0.2.2")
MAC = bytes.fromhex("020000000001")


@pytest.mark.parametrize(
    ("state", "mac", "usable"),
    [
        (0x01, b"", False),  # INCOMPLETE
        (0x02, MAC, True),  # REACHABLE
        (0x04, MAC, True),  # STALE
        (0x08, MAC, True),  # DELAY
        (0x10, MAC, True),  # PROBE
        (0x20, MAC, False),  # FAILED keeps the old address
        (0x40, MAC, False),  # NOARP: a group, not a neighbour
        (0x80, MAC, True),  # PERMANENT
        (0x02, MAC[:4], False),  # not Ethernet
    ],
)
def test_a_neighbour_is_usable_in_some_states(state: int, mac: bytes, usable: bool) -> None:
    assert Neighbour(3, IP, mac, state).usable is usable


@pytest.mark.parametrize(
    ("thing", "part"),
    [
        (Link(3, "eth0", MAC, 1500, up=True), Part.LINKS),
        (Address(3, IP, 24), Part.ADDRESSES),
        (Neighbour(3, IP, MAC, 2), Part.NEIGHBOURS),
        (Route(IPv6Network("::/0"), RouteKind.BLACKHOLE, ()), Part.ROUTES6),
    ],
)
def test_each_object_has_its_part(thing: KernelObject, part: Part) -> None:
    assert Notice(thing).part is part
