"""What the tester's programs do, run by the kernel one frame at a time."""

from __future__ import annotations

import os
import time
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from dstmrouter.io.bpf import Program
from dstmrouter.io.uapi import BpfProgType, XdpAction
from perf.packets import client6_of
from perf.rfc8219 import receiver, source
from perf.rfc8219.frames import STAMP, Direction, template
from perf.rfc8219.shared import SLOTS, SharedValue
from perf.rfc8219.source import Step
from tests.perf.rfc8219.test_frames import MACS
from tests.perf.rfc8219.test_histogram import bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]
BASE = IPv4Address("10.0.0.0")
MASK = 0xFFFFF
LOOPBACK = 1
TRIAL = 77
HOUR_NS = 3_600_000_000_000
SECOND_NS = 1_000_000_000
SHIFT = 20
ENCAP, DECAP = Direction.ENCAP, Direction.DECAP


class Sending:
    """A loaded source and its state."""

    def __init__(self, kinds: Sequence[tuple[Direction, int]]) -> None:
        self.state = SharedValue(source.STATE, "source_test")
        streams = list(dict.fromkeys(direction for direction, _ in kinds))
        schedule = [Step(template(d, n, MACS), streams.index(d), LOOPBACK) for d, n in kinds]
        code = source.assemble(schedule, MASK, self.state.fileno())
        self.program = Program.load(BpfProgType.XDP, code, "source_test")
        self.longest = max((step.template.octets for step in schedule), key=len)
        self.begun = time.monotonic_ns()
        view = self.state.view
        view["trial"], view["begun"], view["slot_shift"] = TRIAL, self.begun, SHIFT
        view["switch_at"] = source.NEVER

    def frame(self) -> bytes | None:
        result = self.program.run(self.longest)
        assert result.action in {XdpAction.REDIRECT, XdpAction.DROP}
        return result.frame if result.action == XdpAction.REDIRECT else None

    def frames(self, count: int) -> list[bytes]:
        frames = [self.frame() for _ in range(count)]
        assert None not in frames
        return [frame for frame in frames if frame is not None]

    def close(self) -> None:
        self.program.close()
        self.state.close()


def stamp_of(frame: bytes) -> np.void:
    stamp: np.void = np.frombuffer(bytes(Ether(frame)[UDP].payload)[: STAMP.itemsize], STAMP)[0]
    return stamp


def right_header(packet: IP) -> bytes:
    fresh = packet.copy()
    del fresh.chksum
    return bytes(fresh)[:20]


@pytest.fixture
def sending(request: pytest.FixtureRequest) -> Iterator[Sending]:
    made = Sending(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("sending", [[(ENCAP, 64)]], indirect=True)
def test_packets_for_clients(sending: Sending) -> None:
    frames = sending.frames(64)
    packets = [Ether(frame)[IP] for frame in frames]
    assert len({packet.dst for packet in packets}) > 48
    assert max(int(IPv4Address(packet.dst)) - int(BASE) for packet in packets) > 0xFFFF
    for packet in packets:
        assert 0 <= int(IPv4Address(packet.dst)) - int(BASE) <= MASK
        assert bytes(packet)[:20] == right_header(packet)
    assert {len(frame) for frame in frames} == {60}


@pytest.mark.parametrize("sending", [[(DECAP, 128)]], indirect=True)
def test_packets_of_clients_come_from_who_holds_the_address(sending: Sending) -> None:
    for frame in sending.frames(64):
        outer = Ether(frame)[IPv6]
        holder = client6_of(np.array([int(IPv4Address(outer[IP].src))], np.uint32))
        assert IPv6Address(outer.src).packed == holder.tobytes()
        assert bytes(outer[IP])[:20] == right_header(outer[IP])
        assert outer[UDP].sport == 4711


@pytest.mark.parametrize("sending", [[(ENCAP, 64), (DECAP, 64), (DECAP, 1518)]], indirect=True)
def test_a_schedule_is_kept_with_a_count_for_each_stream(sending: Sending) -> None:
    frames = sending.frames(7)
    assert [len(frame) for frame in frames] == [60, 100, 1554, 60, 100, 1554, 60]
    assert [int(stamp_of(frame)["sequence"]) for frame in frames] == [0, 0, 1, 1, 2, 3, 2]
    assert sending.state.view["sent"][0].tolist() == [3, 4]
    assert sending.state.view["slots"][0].sum(axis=1).tolist() == [3, 4]


@pytest.mark.parametrize("sending", [[(ENCAP, 64)]], indirect=True)
def test_stamps_tell_trial_and_time(sending: Sending) -> None:
    (frame,) = sending.frames(1)
    stamp = stamp_of(frame)
    assert stamp["trial"] == TRIAL
    assert sending.begun <= stamp["sent_ns"] <= time.monotonic_ns()
    slot = int(stamp["sent_ns"] - sending.begun) >> SHIFT
    assert sending.state.view["slots"][0, 0, slot] == 1


@pytest.mark.parametrize("sending", [[(ENCAP, 64)]], indirect=True)
def test_frames_that_are_not_due_are_dropped(sending: Sending) -> None:
    sending.state.view["gap"] = HOUR_NS
    assert [sending.frame() is not None for _ in range(3)] == [True, False, False]
    assert sending.state.view["sent"][0].tolist() == [1, 0]


@pytest.mark.parametrize("sending", [[(ENCAP, 64)]], indirect=True)
def test_the_rate_changes_at_its_time(sending: Sending) -> None:
    sending.state.view["gap_after"] = HOUR_NS
    assert len(sending.frames(3)) == 3
    sending.state.view["switch_at"] = sending.begun
    assert [sending.frame() is not None for _ in range(2)] == [True, False]


class Receiving:
    """A loaded receiver and its state."""

    def __init__(self) -> None:
        self.state = SharedValue(receiver.STATE, "receiver_test")
        code = receiver.assemble(self.state.fileno())
        self.program = Program.load(BpfProgType.XDP, code, "receiver_test")
        view = self.state.view
        view["trial"], view["least"], view["slot_shift"] = TRIAL, source.NEVER, SHIFT
        view["begun"] = time.monotonic_ns() - SECOND_NS

    def __getitem__(self, field: str) -> int:
        return int(self.state.view[field][0])

    def take(self, frame: bytes) -> int:
        return self.program.run(frame).action

    def close(self) -> None:
        self.program.close()
        self.state.close()


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    made = Receiving()
    yield made
    made.close()


def stamped(direction: Direction, sequence: int, age_ns: int, trial: int = TRIAL) -> bytes:
    made = template(direction, 128, MACS)
    stamp = np.array((time.monotonic_ns() - age_ns, sequence, trial), STAMP).tobytes()
    return made.octets[: made.header_len] + stamp + made.octets[made.header_len + len(stamp) :]


@pytest.mark.parametrize("direction", [ENCAP, DECAP])
def test_delays_are_counted_once_each(receiving: Receiving, direction: Direction) -> None:
    ages = [0, 300, 10_000, 123_456_789, 999_999_999]
    for sequence, age in enumerate(ages):
        assert receiving.take(stamped(direction, sequence, age)) == XdpAction.DROP
    delays = receiving.state.view["delays"][0, : len(ages)].tolist()
    assert all(delay >= age for delay, age in zip(delays, ages, strict=True))
    expected = np.zeros(len(receiving.state.view["buckets"][0]), np.uint64)
    for delay in delays:
        expected[bucket_of(delay)] += np.uint64(1)
    assert (receiving.state.view["buckets"][0] == expected).all()
    found = [receiving[field] for field in ("received", "least", "most", "total", "strange")]
    assert found == [len(ages), min(delays), max(delays), sum(delays), 0]
    assert receiving.state.view["slots"][0].sum() == len(ages)


def test_delays_count_from_a_time_on(receiving: Receiving) -> None:
    receiving.state.view["delays_from"] = time.monotonic_ns() - SECOND_NS // 2
    for sequence, age in enumerate((SECOND_NS, 100, HOUR_NS)):
        receiving.take(stamped(ENCAP, sequence, age))
    delays = receiving.state.view["delays"][0, :3].tolist()
    assert receiving.state.view["buckets"][0].sum() == 1
    assert [receiving[field] for field in ("least", "most", "total")] == 3 * [delays[1]]
    assert (receiving["received"], delays[2]) == (3, (1 << 32) - 1)


def test_hours_count_as_the_longest_delay(receiving: Receiving) -> None:
    receiving.take(stamped(ENCAP, 0, HOUR_NS))
    assert receiving["most"] == (1 << 32) - 1
    assert receiving.state.view["buckets"][0, -1] == 1
    assert receiving.state.view["slots"][0, SLOTS - 1] == 1


def test_frames_behind_later_ones_are_counted(receiving: Receiving) -> None:
    for sequence in (0, 2, 1, 3, receiver.RECORDED + 5):
        receiving.take(stamped(ENCAP, sequence, 100))
    assert receiving["reordered"] == 1
    assert receiving["received"] == 5
    assert np.count_nonzero(receiving.state.view["delays"][0]) == 4


def test_frames_of_another_trial_do_not_count(receiving: Receiving) -> None:
    assert receiving.take(stamped(DECAP, 0, 100, TRIAL + 1)) == XdpAction.DROP
    assert (receiving["strange"], receiving["received"]) == (1, 0)


def test_all_else_is_for_the_kernel(receiving: Receiving) -> None:
    encap, decap = stamped(ENCAP, 0, 0), stamped(DECAP, 0, 0)
    others = [
        encap[:12] + b"\x08\x06" + encap[14:],  # ARP
        encap[:23] + b"\x06" + encap[24:],  # TCP
        decap[:20] + b"\x3a" + decap[21:],  # ICMPv6
        encap[:59],  # too short for a stamp
        decap[:99],
    ]
    assert {receiving.take(frame) for frame in others} == {XdpAction.PASS}
    assert receiving["received"] == 0
