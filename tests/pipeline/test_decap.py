from __future__ import annotations

import itertools
import random
from functools import cache
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests import oracle
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled


@cache
def machine(*, dscp_uniform: bool = True) -> Machine:
    return Machine(worlds.world(dscp_uniform=dscp_uniform))


def verdict(frame: bytes, now_s: int = worlds.NOW_S) -> str:
    return machine().run([frame], worlds.ACCESS, now_s)[0].verdict


@pytest.mark.parametrize(
    ("src", "client6", "reason"),
    [
        (worlds.leased(1), worlds.CLIENTS6[1], "DECAPSULATED"),
        (worlds.POOLS[1][9], worlds.CLIENTS6[1], "DECAPSULATED"),  # a client with two leases
        (worlds.leased(1), worlds.CLIENTS6[2], "DROP_SPOOF_CLIENT"),
        (worlds.leased(1), IPv6Address(int(worlds.CLIENTS6[1]) ^ 1), "DROP_SPOOF_CLIENT"),
        (worlds.leased(1), IPv6Address(int(worlds.CLIENTS6[1]) ^ 1 << 127), "DROP_SPOOF_CLIENT"),
        (worlds.leased(4), worlds.CLIENTS6[4], "DROP_SPOOF_ADDRESS"),  # expired
        (worlds.leased(5), worlds.CLIENTS6[5], "DROP_SPOOF_PORT"),
        (worlds.leased(9), worlds.CLIENTS6[9], "DROP_SPOOF_ADDRESS"),  # never bound
        (worlds.leased(9), IPv6Address(0), "DROP_SPOOF_ADDRESS"),
        (IPv4Address("10.0.0.1"), IPv6Address(0), "DROP_SPOOF_ADDRESS"),
        (worlds.TEP4, IPv6Address(0), "DROP_SPOOF_ADDRESS"),
    ],
)
def test_r12_source_and_client_must_belong_together(
    src: IPv4Address, client6: IPv6Address, reason: str
) -> None:
    assert verdict(ether(ipv6(ipv4(src, packets.FAR), client6))) == reason


def test_r12_a_lease_ends_with_its_second() -> None:
    frame = tunnelled(2)
    assert [verdict(frame, worlds.NOW_S + n) for n in (0, 1, 2)] == [
        "DECAPSULATED",
        "DROP_SPOOF_ADDRESS",
        "DROP_SPOOF_ADDRESS",
    ]


def test_r12_any_of_our_end_points_will_do() -> None:
    for dst in (worlds.TEP6, worlds.TEP6_B, worlds.TEP6_C):
        frame = ether(ipv6(ipv4(worlds.leased(1), packets.FAR), dst=dst))
        assert verdict(frame) == "DECAPSULATED"


@pytest.mark.parametrize("uniform", [True, False])
def test_r14_all_marks_in_one_burst(*, uniform: bool) -> None:
    router = machine(dscp_uniform=uniform)
    marks = [0, 1, 2, 3, 0xB8, 0xBA, 0x2B, 0xFF]
    burst = [
        tunnelled(dst=dst, traffic_class=outer, tos=inner)
        for outer, inner in itertools.product(marks, marks)
        for dst in (packets.FAR, worlds.leased(3))
    ]
    random.Random(1).shuffle(burst)
    wanted = [oracle.fate(router.world, frame, worlds.ACCESS, worlds.NOW_S) for frame in burst]
    assert router.run(burst, worlds.ACCESS, worlds.NOW_S) == wanted
    assert {"DECAPSULATED", "DECAPSULATED_ECN_ODD", "HAIRPINNED", "DROP_ECN_CE"} == {
        fate.verdict for fate in wanted
    }


def test_a_broken_inner_packet_is_no_reason_to_look_at_its_source() -> None:
    inner = ipv4(worlds.leased(9), packets.FAR, sum_off=1)
    assert verdict(ether(ipv6(inner))) == "DROP_V4_CHECKSUM"
    assert verdict(ether(ipv6(inner[:19]))) == "DROP_V4_MALFORMED"
    assert verdict(ether(ipv6(b""))) == "DROP_V4_MALFORMED"
