from __future__ import annotations

import dataclasses
from functools import cache
from ipaddress import IPv6Network

import pytest

from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6
from tests.pipeline.told import told

FOREIGN = ipv4(worlds.leased(3), packets.FAR)  # leased to client 3
UNLEASED = ipv4(worlds.leased(200), packets.FAR)
SHARED = ipv4(worlds.leased(5), packets.FAR, packets.ports(1025, 53))  # not in a set of client 5


@cache
def machine(access: tuple[str, ...] = ("2001:db8:1::/62",), vlan: int | None = None) -> Machine:
    prefixes = tuple(IPv6Network(text) for text in access)
    icmp = dataclasses.replace(worlds.ICMP, access_prefixes=prefixes)
    return Machine(worlds.world(access_vlan=vlan, icmp=icmp))


@pytest.mark.parametrize("inner", [FOREIGN, UNLEASED])
def test_r12_a_spoofer_in_the_access_network_is_told_so(inner: bytes) -> None:
    octets = ipv6(inner, worlds.CLIENTS6[1], worlds.TEP6_B)
    router = machine()
    router.run([ether(octets)], worlds.ACCESS, worlds.NOW_S)
    [error] = [told(fate) for fate in router.made]
    assert (error.verdict, error.port) == ("SENT_ICMPV6_SPOOF", worlds.ACCESS)
    assert (error.to, error.type, error.code, error.rest) == (str(worlds.CLIENTS6[1]), 1, 5, 0)
    assert error.quote == octets


def test_r12_a_wrong_port_is_told_like_a_wrong_address() -> None:
    router = machine(("2001:db8:1::/48",))
    frame = ether(ipv6(SHARED, worlds.CLIENTS6[5]))
    [fate] = router.run([frame], worlds.ACCESS, worlds.NOW_S)
    assert fate.verdict == "DROP_SPOOF_PORT"
    assert [sent.verdict for sent in router.made] == ["SENT_ICMPV6_SPOOF"]


def test_it_comes_from_the_end_point_that_was_addressed_by_the_way_of_the_packet() -> None:
    octets = ether(ipv6(FOREIGN, worlds.CLIENTS6[1], worlds.TEP6_C), tci=9)
    router = machine(vlan=9)
    router.run([octets], worlds.ACCESS, worlds.NOW_S)
    [fate] = router.made
    assert fate.frame is not None
    ours = worlds.world().ports[worlds.ACCESS].mac
    assert fate.frame[:18] == octets[6:12] + ours + bytes.fromhex("81000009") + b"\x86\xdd"
    assert fate.frame[18 + 8 : 18 + 24] == worlds.TEP6_C.packed
    assert fate.frame[18 + 7] == 64


@pytest.mark.parametrize(
    ("access", "count"),
    [
        ((), 0),
        (("2001:db8:1::/64",), 0),
        (("2001:db8:1:1::/64",), 1),
        (("2001:db8:1:1::1/128",), 1),
        (("2001:db8:2::/48", "2001:db8:1::/48"), 1),
        (("2001:db8::/32", "2001:db8:1::/48"), 1),
        (("::/0",), 1),
    ],
)
def test_r12_only_sources_in_access_prefixes_are_told(access: tuple[str, ...], count: int) -> None:
    router = machine(access)
    router.run([ether(ipv6(FOREIGN, worlds.CLIENTS6[1]))], worlds.ACCESS, worlds.NOW_S)
    assert len(router.made) == count


def test_a_burst_of_all_sorts() -> None:
    frames = [
        ether(ipv6(FOREIGN, worlds.CLIENTS6[1])),
        ether(ipv6(FOREIGN, worlds.CLIENTS6[8])),  # not in the access network
        ether(ipv6(FOREIGN, worlds.CLIENTS6[3])),  # honest
        ether(ipv4()),
        ether(ipv6(packets.OPTIONS + UNLEASED, worlds.CLIENTS6[2], next_header=60), tci=0),
    ]
    router = machine()
    router.run(frames, worlds.ACCESS, worlds.NOW_S)
    told_to = {told(fate).to for fate in router.made}
    assert told_to == {str(worlds.CLIENTS6[1]), str(worlds.CLIENTS6[2])}
