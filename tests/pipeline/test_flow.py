from __future__ import annotations

import dataclasses
import random
import struct
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Final

import pytest

from tests.pipeline import worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4

if TYPE_CHECKING:
    from collections.abc import Sequence

PORTS: Final = struct.pack("!HH", 4711, 443)
OTHER_PORTS: Final = struct.pack("!HH", 4712, 443)


@cache
def machine(key: tuple[int, int] = (0x0123456789ABCDEF, 0xFEDCBA9876543211)) -> Machine:
    return Machine(worlds.world(flow_key=key))


def labels(octets: Sequence[bytes], router: Machine | None = None) -> list[int]:
    """Flow labels of the outer headers of packets that are all sent."""
    frames = [ether(packet) for packet in octets]
    fates = (router or machine()).run(frames, worlds.INTERNET, worlds.NOW_S)
    outer = [fate.frame[14:18] for fate in fates if fate.frame is not None]
    assert len(outer) == len(octets)
    return [int.from_bytes(word, "big") & 0xFFFFF for word in outer]


def distinct(*octets: bytes) -> int:
    return len(set(labels(octets)))


@pytest.mark.parametrize("protocol", [6, 17, 33, 132])
def test_r8_a_flow_has_one_label_whatever_else_differs(protocol: int) -> None:
    same = [
        ipv4(payload=PORTS + data, protocol=protocol, **fields)
        for data, fields in (
            (b"", {}),
            (b"other octets", {"ident": 9, "ttl": 2, "tos": 0x28}),
            (b"", {"fragment": 0}),
            (b"", {"options": b"\x01" * 8}),
        )
    ]
    assert distinct(*same) == 1
    assert labels(same) == labels(same[::-1])


@pytest.mark.parametrize("protocol", [6, 17, 33, 132])
def test_r8_addresses_ports_and_protocol_tell_flows_apart(protocol: int) -> None:
    flows = [
        ipv4(payload=PORTS, protocol=protocol),
        ipv4(payload=OTHER_PORTS, protocol=protocol),
        ipv4(payload=PORTS[::-1], protocol=protocol),
        ipv4(payload=PORTS[2:] + PORTS[:2], protocol=protocol),
        ipv4("198.18.7.8", payload=PORTS, protocol=protocol),
        ipv4(dst=worlds.leased(2), payload=PORTS, protocol=protocol),
        ipv4(payload=PORTS, protocol=6 if protocol == 17 else 17),
    ]
    assert distinct(*flows) == len(flows)


@pytest.mark.parametrize("protocol", [1, 4, 47, 50, 255])
def test_r8_protocols_without_ports_are_told_apart_by_addresses(protocol: int) -> None:
    assert distinct(*(ipv4(payload=p, protocol=protocol) for p in (PORTS, OTHER_PORTS, b""))) == 1
    assert distinct(ipv4(protocol=protocol), ipv4("198.18.7.8", protocol=protocol)) == 2


@pytest.mark.parametrize("fragment", [0x2000, 0x2005, 0x0005])
def test_r8_all_fragments_of_a_packet_have_one_label(fragment: int) -> None:
    """Only the first of them has ports, so none of them may count them."""
    first = ipv4(payload=PORTS, fragment=0x2000, protocol=17)
    later = ipv4(payload=OTHER_PORTS, fragment=fragment, protocol=17)
    assert distinct(first, later, ipv4(payload=PORTS, protocol=1)) == 1


@pytest.mark.parametrize("options", [b"", b"\x01" * 4, b"\x01" * 40])
def test_r8_what_lies_behind_a_short_packet_does_not_count(options: bytes) -> None:
    short = [ipv4(payload=PORTS[:n], protocol=17, options=options) for n in range(4)]
    assert distinct(*short, *short, ipv4(protocol=1)) == 1
    assert distinct(short[3], ipv4(payload=PORTS, protocol=17, options=options)) == 2


def test_r8_labels_are_never_zero_and_depend_on_the_key() -> None:
    octets = [ipv4(payload=struct.pack("!HH", port, 80)) for port in range(1000)]
    one, other = labels(octets), labels(octets, machine((3, 5)))
    assert min(one + other) >= 1
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 10
    assert set(labels(octets[:9], machine((0, 0)))) != {0}


def test_r8_a_hash_of_zero_is_no_label_of_zero() -> None:
    """With keys of 1 the label is the end of the destination: here nothing but zeros."""
    dst = IPv4Address("203.0.0.0")
    world = dataclasses.replace(
        worlds.world(flow_key=(1, 1)),
        pools=(IPv4Network("203.0.0.0/24"),),
        bindings={dst: worlds.HELD[worlds.leased(1)]},
        shared={},
    )
    assert labels([ipv4(dst=dst, protocol=1)], Machine(world)) == [1]


def keys(count: int) -> list[tuple[int, int]]:
    dice = random.Random(6438)
    return [(dice.getrandbits(64), dice.getrandbits(64)) for _ in range(count)]


def unevenness(values: list[int], bins: int) -> float:
    """Chi-square of values that should fall evenly into `bins`, by their remainder."""
    counts = [0] * bins
    for value in values:
        counts[value % bins] += 1
    expected = len(values) / bins
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.untraced
@pytest.mark.parametrize("what", ["source port", "destination port", "source address"])
def test_r8_labels_spread(what: str) -> None:
    """1,000 flows, one after the other, into 64 bins by the lowest and by the highest bits.

    With 63 degrees of freedom chi-square is above 126 once in 200,000 times.
    """
    octets = []
    for n in range(1000):
        ports = (1024 + n * (what == "source port"), 1 + n * (what == "destination port"))
        src = f"198.18.{n >> 8}.{n & 255}" if what == "source address" else "198.18.7.7"
        octets.append(ipv4(src, payload=struct.pack("!HH", *ports)))
    for key in keys(12):
        router = Machine(worlds.world(flow_key=key))
        found = labels(octets, router)
        assert unevenness(found, 64) < 126
        assert unevenness([label >> 14 for label in found], 64) < 126
