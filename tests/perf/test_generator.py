"""What the generator makes of its template, run by the kernel one frame at a time."""

from __future__ import annotations

import os
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.uapi import BpfMapType, BpfProgType, XdpAction
from perf.generator import assemble, decap_variation, encap_variation
from perf.packets import client6_of, decap_frames, encap_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.generator import Varied

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]
BASE = IPv4Address("10.0.0.0")
TEP6 = IPv6Address("2001:db8:ffff::1")
MASK = 0xFF
LOOPBACK = 1
HOUR_NS = 3_600_000_000_000
RUNS = 64


class Bench:
    """A loaded program and its pace."""

    def __init__(self, frame: bytes, varied: Varied) -> None:
        self.frame = frame
        self.pace = Map.create(MapSpec(BpfMapType.ARRAY, 4, 24, 1), "pace_test")
        code = assemble(frame, varied, MASK, (LOOPBACK, self.pace.fileno()))
        self.program = Program.load(BpfProgType.XDP, code, "generator_test")
        self.set_pace(0)

    def set_pace(self, gap_ns: int) -> None:
        self.pace.set(bytes(4), struct.pack("=QQQ", 0, gap_ns, 0))

    def sent(self) -> int:
        value = self.pace.get(bytes(4))
        assert value is not None
        return int(struct.unpack("=QQQ", value)[2])

    def frames(self) -> list[bytes]:
        results = [self.program.run(self.frame) for _ in range(RUNS)]
        assert {result.action for result in results} == {XdpAction.REDIRECT}
        return [result.frame for result in results]

    def close(self) -> None:
        self.program.close()
        self.pace.close()


@pytest.fixture
def benches() -> Iterator[dict[str, Bench]]:
    address, rng = np.array([int(BASE)], np.uint32), np.random.default_rng(1)
    port = np.array([53], np.uint16)
    encap = encap_frames(address, port, 64, rng)
    decap = decap_frames(address, port, client6_of(address), TEP6, 64, rng)
    made = {
        "encap": Bench(encap[0].tobytes(), encap_variation()),
        "decap": Bench(decap[0].tobytes(), decap_variation()),
    }
    yield made
    for bench in made.values():
        bench.close()


def with_right_checksum(packet: IP) -> bytes:
    fresh = packet.copy()
    del fresh.chksum
    return bytes(fresh)[:20]


def test_packets_for_clients_have_many_destinations_and_right_checksums(
    benches: dict[str, Bench],
) -> None:
    packets = [Ether(frame)[IP] for frame in benches["encap"].frames()]
    assert len({packet.dst for packet in packets}) > RUNS // 4
    assert len({packet[UDP].sport for packet in packets}) > RUNS // 2
    for packet in packets:
        assert 0 <= int(IPv4Address(packet.dst)) - int(BASE) <= MASK
        assert bytes(packet)[:20] == with_right_checksum(packet)


def test_packets_of_clients_come_from_the_client_that_holds_the_address(
    benches: dict[str, Bench],
) -> None:
    outers = [Ether(frame)[IPv6] for frame in benches["decap"].frames()]
    assert len({outer[IP].src for outer in outers}) > RUNS // 4
    for outer in outers:
        inner = outer[IP]
        holder = client6_of(np.array([int(IPv4Address(inner.src))], np.uint32))
        assert IPv6Address(outer.src).packed == holder.tobytes()
        assert bytes(inner)[:20] == with_right_checksum(inner)


def test_frames_that_are_not_due_are_dropped_and_not_counted(benches: dict[str, Bench]) -> None:
    bench = benches["encap"]
    bench.set_pace(HOUR_NS)
    actions = [bench.program.run(bench.frame).action for _ in range(3)]
    assert actions == [XdpAction.REDIRECT, XdpAction.DROP, XdpAction.DROP]
    assert bench.sent() == 1


def test_everything_sent_is_counted(benches: dict[str, Bench]) -> None:
    bench = benches["decap"]
    assert len(bench.frames()) == bench.sent() == RUNS
