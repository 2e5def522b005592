"""What a meter makes of turns, by a clock that the tests turn."""

from __future__ import annotations

import random
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.daemon.meter import WRITE_S, TurnMeter, random_distance
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import MEASURED_EVERY, Line, Runtime, TurnStep
from tests.daemon.test_engine import RULES, TO_CLIENT, Machine
from tests.io.frames import ethernet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

NS = 10**9


class Hand:
    """A clock that somebody turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Metered:
    """A meter, its clock and its line."""

    def __init__(self, distance: Callable[[], int] = lambda: 1, runtime: Runtime | None = None):
        self.clock = Hand()
        self.runtime = runtime or Runtime(bytearray(Runtime.size(1)), 1)
        self.meter = TurnMeter(self.runtime, 0, self.clock, distance)

    def turn(self, received: int, *laps: tuple[TurnStep, int, float]) -> int:
        """A measured turn of these steps, packets and seconds; how many unmeasured ones follow."""
        _, unmeasured = self.meter.begin()
        for step, packets, seconds in laps:
            self.clock.now += seconds
            self.meter.lap(step, packets)
        self.meter.end(received)
        return unmeasured

    def line(self) -> Line:
        self.meter.write()
        return self.runtime.read(0)

    def of(self, step: TurnStep) -> tuple[int, int, float]:
        """Calls, packets, seconds of a step."""
        calls, packets, ns = self.line().steps[step].tolist()
        return calls, packets, ns / NS


def test_time_belongs_to_the_step_that_ends() -> None:
    metered = Metered()
    for _ in range(2):
        metered.turn(9, (TurnStep.RECEIVE, 9, 0.25), (TurnStep.COMPILED, 9, 0.5))
    assert metered.of(TurnStep.RECEIVE) == (2, 18, 0.5)
    assert metered.of(TurnStep.COMPILED) == (2, 18, 1.0)
    assert metered.line().all_ns == 1.5 * NS
    assert (metered.line().turns, metered.line().measured_turns) == (2, 2)


def test_what_follows_the_last_step_is_the_loop() -> None:
    metered = Metered()
    metered.meter.begin()
    metered.meter.lap(TurnStep.RECEIVE, 1)
    metered.clock.now += 0.125
    metered.meter.end(1)
    assert metered.of(TurnStep.LOOP) == (1, 1, 0.125)


def test_a_turn_without_packets_is_empty_whatever_its_steps() -> None:
    metered = Metered()
    metered.turn(0, (TurnStep.RECLAIM, 3, 0.25), (TurnStep.RECEIVE, 0, 0.5))
    assert metered.of(TurnStep.EMPTY) == (1, 0, 0.75)
    assert metered.of(TurnStep.RECEIVE) == (0, 0, 0)
    metered.turn(1, (TurnStep.RECEIVE, 1, 0.5))
    assert metered.of(TurnStep.RECLAIM) == (0, 0, 0)


def test_turns_between_measured_ones_are_counted() -> None:
    metered = Metered(lambda: 5)
    assert metered.turn(1) == 4
    assert not metered.meter.on
    assert metered.turn(1) == 4
    metered.turn(1)
    line = metered.line()
    assert (line.turns, line.measured_turns) == (11, 3)


def test_exact_steps_are_measured_in_any_turn_and_are_no_part_of_others() -> None:
    metered = Metered()
    with metered.meter.aside(TurnStep.EXPIRE):
        metered.clock.now += 0.5
        assert not metered.meter.on
    metered.meter.begin()
    with metered.meter.aside(TurnStep.EXPIRE):
        metered.clock.now += 2
        assert not metered.meter.on  # steps inside belong to it
    assert metered.meter.on
    metered.clock.now += 0.25
    metered.meter.lap(TurnStep.SEND, 4)
    metered.clock.now += 0.125
    metered.meter.end(4)
    assert metered.of(TurnStep.EXPIRE) == (2, 0, 2.5)
    assert metered.of(TurnStep.SEND) == (1, 4, 0.25)
    assert metered.of(TurnStep.LOOP) == (1, 4, 0.125)


def test_sleep_is_measured_whole_and_sleep_in_vain_is_counted() -> None:
    metered = Metered()
    for in_vain in (True, False, True):
        begun = metered.meter.rest()
        metered.clock.now += 0.5
        assert metered.meter.waited(begun, in_vain=in_vain) == metered.clock.now
    assert metered.of(TurnStep.WAIT) == (3, 0, 1.5)
    assert metered.line().timeouts == 2


def test_the_line_is_written_now_and_then() -> None:
    metered = Metered()
    metered.turn(1, (TurnStep.RECEIVE, 1, 0.0))
    assert metered.runtime.read(0).turns == 1
    metered.turn(1, (TurnStep.RECEIVE, 1, WRITE_S / 2))
    assert metered.runtime.read(0).turns == 1
    metered.turn(1, (TurnStep.RECEIVE, 1, WRITE_S))
    assert metered.runtime.read(0).turns == 3
    metered.clock.now += 2 * WRITE_S
    metered.meter.rest()  # a worker that sleeps tells what it did before
    assert metered.runtime.read(0).all_ns == pytest.approx(3.5 * WRITE_S * NS)


def test_a_new_worker_goes_on_where_the_last_one_ended() -> None:
    first = Metered()
    first.turn(9, (TurnStep.RECEIVE, 9, 0.25))
    first.line()
    second = Metered(runtime=first.runtime)
    second.turn(1, (TurnStep.RECEIVE, 1, 0.5))
    assert second.of(TurnStep.RECEIVE) == (2, 10, 0.75)
    assert second.line().all_ns == 0.75 * NS
    assert second.line().turns == 2


def test_distances_are_random_around_the_mean() -> None:
    random.seed(7)
    found = [random_distance() for _ in range(4000)]
    assert (min(found), max(found)) == (1, 2 * MEASURED_EVERY - 1)
    assert np.mean(found) == pytest.approx(MEASURED_EVERY, rel=0.05)


# With an engine ---------------------------------------------------------------------------------


class MeteredEngine:
    """The engine of `Machine` with a meter that measures every turn."""

    def __init__(self, *, compiled: bool) -> None:
        self.machine = machine = Machine()
        steps: Forwarder | CompiledForwarder = Forwarder(
            FrameMemory(machine.umem.memory), machine.tables, RULES, machine.umem.pool
        )
        if compiled:
            assert isinstance(steps, Forwarder)
            steps = CompiledForwarder(machine.umem.memory, machine.tables, RULES, steps)
        machine.engine.forwarder = steps
        self.metered = Metered()
        machine.engine.meter = self.metered.meter
        steps.measure_with(self.metered.meter)

    def turn(self, now_s: int = 0) -> int:
        self.metered.meter.begin()
        received = self.machine.engine.turn(now_s)
        self.metered.meter.end(received)
        return received

    def taken(self) -> dict[TurnStep, tuple[int, int]]:
        """Calls and packets of the steps that were taken."""
        steps = self.metered.line().steps
        return {step: tuple(steps[step, :2].tolist()) for step in TurnStep if steps[step, 0]}


@pytest.fixture(params=[False, True], ids=["numpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Iterator[MeteredEngine]:
    made = MeteredEngine(compiled=request.param)
    made.turn()  # frames to receive into
    yield made
    made.machine.close()


def test_the_steps_of_a_burst(engine: MeteredEngine) -> None:
    engine.machine.ports[0].feed([TO_CLIENT] * 3)
    assert engine.turn() == 3
    compiled = isinstance(engine.machine.engine.forwarder, CompiledForwarder)
    numpy = {TurnStep.NUMPY_LINK: (1, 3), TurnStep.NUMPY_ENCAP: (1, 3)}
    assert engine.taken() == {
        TurnStep.LOOP: (1, 3),
        TurnStep.RECLAIM: (2, 3),  # two ports; the second has sent them already
        TurnStep.RECEIVE: (2, 3),
        **({TurnStep.COMPILED: (1, 3)} if compiled else numpy),
        TurnStep.FORWARD: (1, 3),
        TurnStep.SEND: (1, 3),
        TurnStep.FINISH: (1, 3),
        TurnStep.FLUSH: (1, 3),
        TurnStep.EMPTY: (1, 0),  # the first one
    }


def test_rare_packets_are_steps_of_their_own(engine: MeteredEngine) -> None:
    piece = bytes([4, 0, 0, 1]) + bytes(4) + bytes(16)  # IPv4 follows, in more pieces
    outer = (6 << 28).to_bytes(4) + len(piece).to_bytes(2) + bytes([44, 64])
    addresses = IPv6Address("2001:db8::77").packed + RULES.tep6[0].packed
    engine.machine.ports[0].feed([TO_CLIENT, ethernet(0x86DD, outer + addresses + piece)])
    assert engine.turn() == 2
    assert engine.machine.count(Verdict.DROP_OUTER_FRAGMENT) == 1
    taken = engine.taken()
    assert taken[TurnStep.REASSEMBLY] == (1, 1)
    assert taken[TurnStep.NUMPY_DECAP] == (1, 1)
    if isinstance(engine.machine.engine.forwarder, CompiledForwarder):
        assert taken[TurnStep.COMPILED] == (1, 2)
        assert taken[TurnStep.NUMPY_LINK] == (1, 1)  # what the compiled pass has left


def test_a_compiled_turn_is_one_step_and_what_it_leaves_are_others(engine: MeteredEngine) -> None:
    class HalfDone:
        """Says that it has received two packets, and left one."""

        steps = engine.machine.engine.forwarder
        rounds = 1

        def turn(self, first: int, _now_s: float, _rounds: int) -> tuple[int, int, int]:
            return (2, 1, 1) if first == 0 else (0, 0, 2)

        def rest(self, _port: int) -> npt.NDArray[np.int64]:
            [at] = engine.machine.umem.pool.take(1).astype(np.int64)
            return np.array([[at + 256], [14]])

        def held(self) -> int:
            return 0

    engine.machine.engine.handover = HalfDone()
    assert engine.turn() == 2
    taken = engine.taken()
    assert taken[TurnStep.COMPILED_TURN] == (2, 2)  # the second port after what the first has left
    assert taken[TurnStep.SEND] == taken[TurnStep.FORWARD] == taken[TurnStep.FINISH] == (1, 1)
    assert TurnStep.RECEIVE not in taken


def test_what_time_brings_about_is_exact(engine: MeteredEngine) -> None:
    engine.turn(1)
    engine.turn(1)
    engine.turn(2)
    assert engine.taken()[TurnStep.EXPIRE] == (2, 0)
