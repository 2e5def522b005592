"""What a worker's tap sees, over the real engine of tests/daemon/test_engine.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.daemon.engine import OURS_AGAIN
from dstmrouter.daemon.tap import Tap
from dstmrouter.daemon.tapboard import SLOTS, TapBoard
from dstmrouter.io.pcapfilter import compile_filter
from dstmrouter.pipeline.verdict import Verdict
from tests.daemon.test_engine import KEPT, TO_CLIENT, Keeping, Machine
from tests.io.frames import ethernet, udp4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.daemon.tapboard import Sample

UNBOUND = ethernet(0x0800, udp4("203.0.113.9", 9, b"data"))
ALL = np.ones(256, np.bool_)


class Tapped(Machine):
    """A machine with a tap, and the supervisor's end of it."""

    def __init__(self) -> None:
        super().__init__()
        self.board = TapBoard(bytearray(TapBoard.size(2)), 2)
        self.engine.tap = Tap(self.board, 1, self.umem.memory)

    def watch(self, *verdicts: Verdict, program: bytes = b"", until_s: int = 60) -> None:
        wanted = np.isin(np.arange(256), verdicts) if verdicts else ALL
        self.board.arm(wanted, program, until_s)

    def sees(self, *frames: bytes) -> list[Sample]:
        self.ports[0].feed(frames)
        self.run()
        return self.board.take(1, SLOTS)


@pytest.fixture
def machine() -> Iterator[Tapped]:
    made = Tapped()
    yield made
    made.close()


def test_nobody_watches(machine: Tapped) -> None:
    assert machine.sees(TO_CLIENT) == []
    machine.watch()
    machine.board.disarm()
    assert machine.sees(TO_CLIENT) == []


def test_frames_are_seen_as_they_came_and_as_they_left(machine: Tapped) -> None:
    machine.watch()
    forwarded, dropped = machine.sees(TO_CLIENT, UNBOUND)
    assert (forwarded.frame, forwarded.port) == (TO_CLIENT, 0)
    assert forwarded.verdict == Verdict.ENCAPSULATED
    assert forwarded.sent_port == 1
    assert [forwarded.sent] == machine.ports[1].take_sent()
    assert (dropped.frame, dropped.verdict, dropped.sent) == (UNBOUND, Verdict.DROP_NO_BINDING, b"")


def test_only_wanted_verdicts(machine: Tapped) -> None:
    machine.watch(Verdict.DROP_NO_BINDING, Verdict.DROP_TTL)
    found = machine.sees(*[TO_CLIENT] * 5, UNBOUND, TO_CLIENT)
    assert [sample.frame for sample in found] == [UNBOUND]


def test_only_what_the_filter_accepts(machine: Tapped) -> None:
    machine.watch(program=compile_filter("dst host 203.0.113.9"))
    assert [sample.frame for sample in machine.sees(TO_CLIENT, UNBOUND, TO_CLIENT)] == [UNBOUND]
    machine.watch(program=compile_filter("arp"))
    assert machine.sees(TO_CLIENT) == []
    machine.watch()
    assert len(machine.sees(TO_CLIENT)) == 1, "the filter of an earlier order"


def test_packet_that_a_port_did_not_take_was_not_sent(machine: Tapped) -> None:
    machine.watch()
    machine.engine.turn(0)  # refills
    machine.ports[1].transmit = lambda descs: len(descs) * 0  # type: ignore[method-assign]
    [sample] = machine.sees(TO_CLIENT)
    assert (sample.verdict, sample.sent) == (Verdict.DROP_TX_FULL, b"")
    assert sample.frame == TO_CLIENT


def test_full_ring_keeps_nobody_waiting(machine: Tapped) -> None:
    machine.watch()
    seen = machine.sees(*[TO_CLIENT] * 100)
    assert len(seen) == SLOTS
    assert machine.board.missed() == 100 - SLOTS
    assert machine.count(Verdict.ENCAPSULATED) == 100
    machine.ports[0].feed([TO_CLIENT] * SLOTS)
    machine.run()
    machine.ports[0].feed([UNBOUND] * 7)  # the ring is full before this burst
    machine.run()
    assert machine.board.missed() == 100 - SLOTS + 7


def test_order_ends_by_itself(machine: Tapped) -> None:
    machine.watch(until_s=0)
    assert len(machine.sees(TO_CLIENT)) == 1
    machine.ports[0].feed([TO_CLIENT])
    machine.engine.turn(1)
    assert machine.board.take(1, 9) == []


def test_packets_of_our_own_and_late_ones(machine: Tapped, monkeypatch: pytest.MonkeyPatch) -> None:
    ours_again = OURS_AGAIN.copy()
    ours_again[KEPT] = False
    monkeypatch.setattr("dstmrouter.daemon.engine.OURS_AGAIN", ours_again)
    machine.engine.forwarder = Keeping(machine)
    machine.watch()
    [kept] = machine.sees(TO_CLIENT)
    assert kept.sent == b""
    machine.engine.turn(1)
    *made, late = machine.board.take(1, 9)
    assert [(sample.made, sample.frame, sample.port) for sample in made] == [(True, b"made", 0)] * 2
    assert (late.frame, late.verdict, late.sent_port) == (TO_CLIENT, Verdict.ENCAPSULATED, 1)


def test_made_packets_of_other_verdicts_or_orders_are_not_seen(machine: Tapped) -> None:
    machine.engine.forwarder = Keeping(machine)
    machine.watch(Verdict.ENCAPSULATED)
    machine.engine.turn(1)
    assert machine.board.take(1, 9) == []
    machine.watch(until_s=1)
    machine.engine.turn(2)
    assert machine.board.take(1, 9) == []
