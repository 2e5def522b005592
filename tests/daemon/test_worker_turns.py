"""When a worker takes turns and when it sleeps: turns and sleeps are counted, nobody waits.

Ports are memory, poll() is played, and the clock is turned by hand.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.idling import POLL_MS, SENDING_POLL_MS, SOON_S, TURNS_MAX, TURNS_MIN
from dstmrouter.daemon.meter import TurnMeter
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.daemon.worker import Worker
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.port import RingFill
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep
from tests.daemon.plans import SIZES, plan
from tests.daemon.test_engine import TO_CLIENT, Machine
from tests.daemon.test_meter import Hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON, LATE = SOON_S / 2, SOON_S * 2


class Stage:
    """A worker over the memory ports of a `Machine`, and a poll() that tests write.

    `on_poll` gets the number of the call; it says how long the worker slept and whether it was
    woken. It may feed ports.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = machine = Machine()
        self._fd = os.eventfd(0)
        monkeypatch.setattr(MemoryPort, "fileno", lambda _: self._fd)
        self.shared = SharedTables.create(SIZES)
        self.clock = Hand()
        wanted = dataclasses.replace(plan(self.shared, "none"), clock_zero=self.clock.now)
        self.worker = Worker(wanted, self.shared, machine.engine)
        meter = TurnMeter(self.shared.runtime, 0, self.clock)
        self.worker._meter = machine.engine.meter = meter
        self.worker._poll = self  # type: ignore[assignment]
        self.turns = 0
        turn = machine.engine.turn

        def counted(now_s: float, rounds: int) -> int:
            self.turns += 1
            return turn(now_s, rounds)

        monkeypatch.setattr(machine.engine, "turn", counted)

    def run(self, polls: int, on_poll: Callable[[int], tuple[float, bool]]) -> list[int]:
        """Run until the worker has called poll() so often; how many turns each sleep followed."""
        self._on_poll, self._polls = on_poll, polls
        self.between: list[int] = []
        self.timeouts: list[int] = []
        self._before = self.turns
        self.worker._stop = False
        self.worker.run()
        return self.between

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        self.between.append(self.turns - self._before)
        self._before = self.turns
        self.timeouts.append(timeout_ms)
        if len(self.between) == self._polls:
            self.worker.stop()
        slept, woken = self._on_poll(len(self.between))
        self.clock.now += slept
        return [(self._fd, 1)] if woken else []

    def close(self) -> None:
        self.machine.close()
        os.close(self._fd)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(monkeypatch)
    yield made
    made.close()


def in_vain(_: int) -> tuple[float, bool]:
    return POLL_MS / 1000, False


def test_without_traffic_a_turn_for_each_timeout(stage: Stage) -> None:
    turns = stage.run(50, in_vain)
    assert turns == [TURNS_MIN + 1] + [1] * 49
    assert set(stage.timeouts) == {POLL_MS}


def test_a_packet_is_forwarded_in_the_turn_after_it_woke_the_worker(stage: Stage) -> None:
    sent: list[int] = []

    def rarely(_: int) -> tuple[float, bool]:
        sent.append(len(stage.machine.ports[1].take_sent()))
        stage.machine.ports[0].feed([TO_CLIENT])
        return LATE, True

    turns = stage.run(20, rarely)
    assert sent == [0] + [1] * 19  # each before the next sleep
    assert turns[1:] == [1 + TURNS_MIN + 1] * 19  # its own, and a few to look on


def test_under_traffic_it_does_not_sleep(stage: Stage) -> None:
    stage.machine.ports[0].feed([TO_CLIENT] * 2000)
    [turns] = stage.run(1, in_vain)
    assert stage.machine.count(Verdict.ENCAPSULATED) == 2000
    assert turns >= 2000 / 256  # what the port can hold at a time


def test_a_stream_is_met_awake_and_its_end_is_noticed(stage: Stage) -> None:
    def stream(_: int) -> tuple[float, bool]:
        stage.machine.ports[0].feed([TO_CLIENT])
        return SOON, True

    turns = stage.run(8, stream)
    assert turns[-1] == 1 + TURNS_MAX + 1  # so long it waits for the next one before it sleeps
    assert turns == sorted(turns)
    turns = stage.run(8, in_vain)
    assert turns[1:] == [1] * 7


def test_frames_that_nobody_sends_do_not_keep_it_awake(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = RingFill(fill=0, rx=0, tx=3, completion=0)  # as when the interface is down
    monkeypatch.setattr(stage.machine.ports[1], "held", lambda: stuck)
    turns = stage.run(20, in_vain)
    assert turns[1:] == [1] * 19
    assert stage.timeouts[0] == SENDING_POLL_MS
    assert stage.timeouts[7:] == [POLL_MS] * 13


def test_what_it_tells_of_its_time(stage: Stage) -> None:
    stage.run(30, lambda number: (POLL_MS / 1000, number % 3 == 0))
    line = stage.shared.runtime.read(0)
    assert line.steps[TurnStep.WAIT, 0] >= 28  # all but what has not been written yet
    assert 18 <= line.timeouts <= 20
    assert line.turns > 0
    assert stage.shared.noticeboard.read(0)["pid"] == os.getpid()
