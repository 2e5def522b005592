from __future__ import annotations

from functools import cache

import pytest

from dstmrouter.pipeline.hops import HopState
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4


@cache
def machine(path_mtu: int = 1500) -> Machine:
    return Machine(worlds.world(path_mtu=path_mtu))


def verdict(packet: bytes, path_mtu: int = 1500) -> str:
    return machine(path_mtu).run([ether(packet)], worlds.INTERNET, worlds.NOW_S)[0].verdict


@pytest.mark.parametrize(("path_mtu", "most"), [(1500, 1460), (1280, 1240), (1540, 1500)])
def test_r17_the_tunnel_takes_40_octets_less_than_the_path(path_mtu: int, most: int) -> None:
    assert verdict(ipv4(payload=bytes(most - 20)), path_mtu) == "ENCAPSULATED"
    assert verdict(ipv4(payload=bytes(most - 19)), path_mtu) == "DROP_TOO_BIG"
    assert verdict(ipv4(payload=bytes(most - 19), fragment=0), path_mtu) == "FRAGMENTED"
    assert verdict(ipv4(payload=bytes(most - 19), fragment=1), path_mtu) == "FRAGMENTED"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (4, "DROP_NO_BINDING"),  # expired this very second
        (5, "DROP_NO_BINDING"),  # shared, and the port is in no set
        (6, "DROP_NEIGHBOUR"),
        (7, "DROP_UNREACHABLE"),
        (8, "DROP_NO_BINDING"),
    ],
)
def test_clients_that_cannot_be_reached(number: int, reason: str) -> None:
    assert verdict(ipv4(dst=worlds.leased(number))) == reason


def test_packets_for_ourselves_and_for_others_are_not_tunnelled() -> None:
    assert verdict(ipv4(dst=worlds.TEP4)) == "DROP_LOCAL"
    assert verdict(ipv4(dst="192.0.2.2")) == "DROP_NOT_POOL"  # the same /24
    assert verdict(ipv4(dst="198.51.100.1")) == "DROP_NOT_POOL"


def test_a_hop_that_comes_and_goes_is_seen_at_once() -> None:
    router = Machine(worlds.world())
    frame = ether(ipv4(dst=worlds.leased(6)))
    seen = []
    for state in (HopState.RESOLVED, HopState.UNRESOLVED, HopState.UNREACHABLE):
        router.tables.hops.set(worlds.SILENT, b"\2\0\0\0\0\7", worlds.TAGGED, state)
        seen += router.run([frame], worlds.INTERNET, worlds.NOW_S)
    assert [fate.verdict for fate in seen] == ["ENCAPSULATED", "DROP_NEIGHBOUR", "DROP_UNREACHABLE"]
    assert seen[0].port == worlds.TAGGED
    assert seen[0].frame is not None
    assert seen[0].frame[:6] == b"\2\0\0\0\0\7"


def test_a_burst_for_several_ports_is_one_send_for_each() -> None:
    router = machine()
    burst = [ether(ipv4(dst=worlds.leased(n))) for n in (1, 2, 3, 2, 200)]
    router.run(burst, worlds.INTERNET, worlds.NOW_S)
    sends = {send.port: send.rows.tolist() for send in router.outcome.sends}
    assert sends == {worlds.ACCESS: [0, 2], worlds.TAGGED: [1, 3]}


def test_the_payload_travels_untouched() -> None:
    payload = bytes(range(256)) * 5
    frame = ether(ipv4(payload=payload, options=b"\x01" * 40)) + b"padding"
    (fate,) = machine().run([frame], worlds.INTERNET, worlds.NOW_S)
    assert fate.frame is not None
    assert fate.frame.endswith(b"\x01" * 40 + payload)
    assert packets.ipv4(payload=payload, options=b"\x01" * 40, ttl=63) == fate.frame[54:]
