from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.binding import full_address_columns, words6
from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import OURS_AGAIN, Engine
from dstmrouter.daemon.replay import Side, build_tables
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.hops import GLEAN_HOP
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outcome import Late, Made, Outcome
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.io.frames import PEER4, US, ethernet, udp4

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

TEP6, CLIENT6, CLIENT4 = "2001:db8:f::1", "2001:db8::1", "203.0.113.1"
RULES = TunnelRules(tep6=(IPv6Address(TEP6),))
FRAMES = 1024  # what two ports may hold: 256 each to receive into, 256 each to be sent
TURNS_MAX = 100
KEPT = Verdict.DROP_VLAN  # stands for a verdict of a frame that is kept
TO_CLIENT = ethernet(0x0800, udp4(CLIENT4, 9, b"data"))


class Machine:
    """An engine over two memory ports: 0 to the Internet, 1 to the clients."""

    def __init__(self, *, slots: int = 256) -> None:
        self.umem = Umem(FRAMES)
        client = np.array([int(IPv4Address(CLIENT4))], np.uint32)
        bindings = full_address_columns(
            client, words6([IPv6Address(CLIENT6)]), lifetime_s=60, tep6=RULES.tep6
        )
        sides = [Side(read=None, write=None, mac=US, next_mac=bytes([2, n] * 3)) for n in (4, 6)]
        self.tables = build_tables(RULES, [IPv4Network("203.0.113.0/24")], bindings, sides)
        self.counters = Counters(bytearray(Counters.size(2, len(Verdict))), 2, len(Verdict))
        self.ports = [
            MemoryPort(self.umem, name, slots=n) for name, n in (("port4", 256), ("port6", slots))
        ]
        forwarder = Forwarder(FrameMemory(self.umem.memory), self.tables, RULES, self.umem.pool)
        self.engine = Engine(self.umem, self.ports, forwarder, self.counters, 1)

    def close(self) -> None:
        self.umem.close()

    def run(self) -> int:
        """Take turns until nothing waits; the ledger is checked after each."""
        received = 0
        for _ in range(TURNS_MAX):
            received += self.engine.turn(0)
            assert self.engine.missing() == 0
            if not any(port.waiting for port in self.ports):
                return received
        raise AssertionError("packets are not received")

    def usage(self) -> list[int]:
        """What has been counted for all bindings together, once `count_usage` was called."""
        total: list[int] = self.tables.usage.values.sum(axis=(0, 1)).tolist()
        return total

    def count_usage(self) -> None:
        self.tables.usage.turn(on=True)
        self.engine.usage = self.tables.usage.values[0]

    def count(self, verdict: Verdict) -> int:
        return int(self.counters.values[1, 0, verdict])


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def test_packets_cross_from_port_to_port(machine: Machine) -> None:
    machine.ports[0].feed([TO_CLIENT] * 3)
    assert machine.run() == 3
    sent = machine.ports[1].take_sent()
    assert len(sent) == 3
    assert sent[0][:14] == bytes([2, 6] * 3) + US + b"\x86\xdd"
    assert sent[0][22:54] == IPv6Address(TEP6).packed + IPv6Address(CLIENT6).packed
    assert machine.count(Verdict.ENCAPSULATED) == 3
    assert not machine.counters.values[0].any()


def test_more_packets_than_frames(machine: Machine) -> None:
    machine.ports[0].feed([TO_CLIENT] * 5 * FRAMES)
    assert machine.run() == 5 * FRAMES
    forwarded = machine.count(Verdict.ENCAPSULATED)
    assert forwarded + machine.count(Verdict.DROP_TX_FULL) == 5 * FRAMES
    assert len(machine.ports[1].take_sent()) == forwarded


def test_what_a_port_does_not_take_is_dropped_and_counted() -> None:
    machine = Machine(slots=64)
    machine.count_usage()
    machine.ports[0].feed([TO_CLIENT] * 200)
    machine.engine.turn(0)  # refills
    machine.engine.turn(0)
    assert machine.count(Verdict.ENCAPSULATED) == 64
    assert machine.count(Verdict.DROP_TX_FULL) == 136
    assert machine.engine.missing() == 0
    assert len(machine.ports[1].take_sent()) == 64
    assert machine.usage() == [64, 64 * (len(TO_CLIENT) - 14), 0, 0]
    machine.close()


def test_usage_is_counted_only_by_who_was_given_a_line(machine: Machine) -> None:
    """An explainer works on the tables of a router that counts."""
    machine.tables.usage.turn(on=True)
    machine.ports[0].feed([TO_CLIENT])
    assert machine.run() == 1
    assert machine.usage() == [0, 0, 0, 0]


def test_idle_turns_receive_nothing_and_keep_the_ledger(machine: Machine) -> None:
    assert [machine.engine.turn(0) for _ in range(3)] == [0, 0, 0]
    assert machine.engine.missing() == 0
    assert not machine.engine.sending()


def test_lost_frame_is_missed(machine: Machine) -> None:
    machine.engine.turn(0)
    machine.umem.pool.take(2)
    assert machine.engine.missing() == 2


class Keeping:
    """Keeps every packet for a second, then has it forwarded, and one more of its own sent."""

    engine = "numpy"

    def __init__(self, machine: Machine) -> None:
        self._steps = machine.engine.forwarder
        self._pool = machine.umem.pool
        self._memory = machine.umem.memory
        self._kept: list[Late] = []

    def process(
        self, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> Outcome:
        if now_s:
            return self._steps.process(at, length, port, now_s)
        self._kept.append(Late(port, at, length))
        return Outcome(np.full(len(at), KEPT, np.uint8))

    def expire(self, _now_s: float) -> Outcome:
        own = self._pool.take(2).astype(np.int64) + 256
        for start in own.tolist():
            self._memory[start : start + 4] = b"made"
        sent = Made(0, np.full(2, Verdict.ECHO_ANSWERED, np.uint8), own, np.full(2, 4))
        late, self._kept = self._kept, []
        spare = self._pool.take(1).astype(np.int64)
        return Outcome(np.zeros(0, np.uint8), made=[sent], late=late, released=[spare])

    def held(self) -> int:
        return sum(len(late.at) for late in self._kept)


def test_frames_can_be_kept_and_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    ours_again = OURS_AGAIN.copy()
    ours_again[KEPT] = False
    monkeypatch.setattr("dstmrouter.daemon.engine.OURS_AGAIN", ours_again)
    machine.engine.forwarder = Keeping(machine)
    machine.ports[0].feed([TO_CLIENT] * 3)
    assert machine.run() == 3
    assert machine.engine.forwarder.held() == 3
    assert machine.ports[1].take_sent() == []
    machine.engine.turn(1)
    assert machine.engine.missing() == 0
    assert machine.engine.forwarder.held() == 0
    assert len(machine.ports[1].take_sent()) == 3
    assert machine.ports[0].take_sent() == [b"made"] * 2
    assert (machine.count(Verdict.ENCAPSULATED), machine.count(Verdict.ECHO_ANSWERED)) == (3, 2)


def test_made_packets_that_a_port_does_not_take_are_counted(machine: Machine) -> None:
    machine.engine.forwarder = Keeping(machine)
    machine.engine.turn(0)  # refills
    machine.ports[0].transmit = lambda descs: min(1, len(descs))  # type: ignore[method-assign]
    machine.engine.turn(1)
    assert (machine.count(Verdict.ECHO_ANSWERED), machine.count(Verdict.DROP_TX_FULL)) == (1, 1)
    assert machine.engine.missing() == 1  # the one that the stand-in took


def test_unknown_neighbours_are_reported(machine: Machine) -> None:
    found: list[int] = []
    machine.engine.on_glean = lambda addresses: found.extend(addresses.tolist())
    machine.tables.routes4.publish(np.zeros(1, np.uint32), np.full(1, GLEAN_HOP, np.uint32))
    inner = bytearray(udp4("198.51.100.9", 9, b"data"))
    outer = (6 << 28).to_bytes(4) + len(inner).to_bytes(2) + bytes([4, 64])
    inner[12:16] = IPv4Address(CLIENT4).packed
    difference = int(PEER4) // 65536 + int(PEER4) % 65536
    difference -= int(IPv4Address(CLIENT4)) // 65536 + int(IPv4Address(CLIENT4)) % 65536
    checksum = (int.from_bytes(inner[10:12]) + difference) % 65535  # RFC 1624
    inner[10:12] = checksum.to_bytes(2)
    addresses = IPv6Address(CLIENT6).packed + IPv6Address(TEP6).packed
    machine.ports[1].feed([ethernet(0x86DD, outer + addresses + inner)])
    machine.run()
    assert found == [int(IPv4Address("198.51.100.9"))]
    assert machine.count(Verdict.DROP_NEIGHBOUR) == 1


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.booleans(), st.one_of(st.just(TO_CLIENT), st.binary(max_size=120))),
        max_size=60,
    )
)
def test_every_packet_has_one_verdict_and_no_frame_gets_lost(
    packets: list[tuple[bool, bytes]],
) -> None:
    machine = Machine()
    for port in (0, 1):
        machine.ports[port].feed([octets for side, octets in packets if side == bool(port)])
    assert machine.run() == len(packets)
    assert int(machine.counters.values[1, 0].sum()) == len(packets)
    assert int(machine.counters.values[1, 1].sum()) == sum(len(octets) for _, octets in packets)
    sent = sum(len(port.take_sent()) for port in machine.ports)
    assert sent == int(machine.counters.values[1, 0][~OURS_AGAIN].sum())
    machine.close()
