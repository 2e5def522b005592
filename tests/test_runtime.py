from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.runtime import UNMEASURED, Line, Runtime, TurnStep

if TYPE_CHECKING:
    import pytest


def line(number: int) -> Line:
    """A line whose numbers all follow from one."""
    steps = np.arange(len(TurnStep) * 3, dtype=np.uint64).reshape(-1, 3) + np.uint64(number)
    return Line(number, number + 1, number + 2, number + 3, steps)


def same(one: Line, other: Line) -> bool:
    numbers = [(x.all_ns, x.turns, x.measured_turns, x.timeouts) for x in (one, other)]
    return numbers[0] == numbers[1] and np.array_equal(one.steps, other.steps)


def runtime(workers: int = 2) -> Runtime:
    return Runtime(bytearray(Runtime.size(workers)), workers)


def test_readers_see_what_each_worker_has_written() -> None:
    ours = runtime(3)
    for worker in (0, 2):
        ours.write(worker, line(1 << 40 | worker))
    assert same(ours.read(0), line(1 << 40))
    assert same(ours.read(1), Line())
    assert same(ours.read(2), line(1 << 40 | 2))


def test_readers_of_other_processes_see_it_too() -> None:
    memory = bytearray(Runtime.size(2))
    Runtime(memory, 2).write(1, line(7))
    assert same(Runtime(memory, 2).read(1), line(7))


def test_workers_share_no_cache_line() -> None:
    assert runtime()._steps.strides[0] % 64 == 0
    assert runtime()._steps.strides[0] >= 8 * (5 + 3 * len(TurnStep))


def test_a_line_that_is_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = runtime(1)
    ours.write(0, line(5))
    looks = []
    look = Runtime._look

    def overtaken(self: Runtime, worker: int) -> tuple[Line, bool]:
        """The writer is faster at first."""
        looks.append(worker)
        found, whole = look(self, worker)
        if len(looks) < 3:
            ours.write(0, line(5 + len(looks)))
            return found, False
        return found, whole

    monkeypatch.setattr(Runtime, "_look", overtaken)
    assert same(ours.read(0), line(7))
    assert len(looks) == 3


def test_the_line_of_a_worker_that_died_in_the_middle_is_read_and_written_again() -> None:
    ours = runtime(1)
    ours.write(0, line(5))
    ours._heads[0, 0] += np.uint64(1)  # died here
    assert same(ours.read(0), line(5))
    ours.write(0, line(6))
    assert same(ours.read(0), line(6))
    assert ours._look(0)[1]


def test_exact_and_idle_steps() -> None:
    assert {step for step in TurnStep if step.exact} == {
        TurnStep.EXPIRE,
        TurnStep.TELL,
        TurnStep.WAIT,
    }
    assert {step for step in TurnStep if step.idle} == {TurnStep.EMPTY, TurnStep.WAIT}
    assert [step.value for step in TurnStep] == list(range(len(TurnStep)))


def test_without_a_meter_nothing_is_measured() -> None:
    assert not UNMEASURED.on
    UNMEASURED.lap(TurnStep.SEND, 5)
    with UNMEASURED.aside(TurnStep.EXPIRE):
        pass
