from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.quiescence import LINE, Turns

WORKERS = 3


def turns(workers: int = WORKERS) -> Turns:
    return Turns(bytearray(Turns.size(workers)), workers)


def test_workers_that_wait_hold_nothing() -> None:
    seen = turns()
    assert seen.passed(seen.snapshot())


def test_a_worker_in_its_turn_holds_what_was_there_when_it_began() -> None:
    seen = turns()
    seen.begin(1)
    since = seen.snapshot()
    assert not seen.passed(since)
    seen.end(1)
    assert seen.passed(since)


def test_a_worker_that_begins_later_is_not_waited_for() -> None:
    seen = turns()
    since = seen.snapshot()
    seen.begin(0)
    assert seen.passed(since)


def test_the_next_turn_is_another_one() -> None:
    """Two turns without a pause in between are told apart, though both numbers are odd."""
    seen = turns()
    seen.begin(2)
    since = seen.snapshot()
    seen.begin(2)
    assert seen.passed(since)
    assert not seen.passed(seen.snapshot())


def test_ending_twice_is_ending_once() -> None:
    seen = turns()
    seen.begin(0)
    since = seen.snapshot()
    seen.end(0)
    seen.end(0)
    assert seen.passed(seen.snapshot())
    assert seen.passed(since)


def test_a_dead_worker_is_not_waited_for_after_its_parent_has_said_so() -> None:
    seen = turns()
    seen.begin(0)
    since = seen.snapshot()
    seen.reset(0)
    assert seen.passed(since)


def test_counters_have_a_cache_line_each() -> None:
    memory = bytearray(Turns.size(WORKERS))
    Turns(memory, WORKERS).begin(2)
    assert [octet for octet in range(len(memory)) if memory[octet]] == [2 * LINE]


@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.booleans()), max_size=30))
def test_passed_means_that_every_worker_was_out_of_the_turn_it_was_in(
    steps: list[tuple[int, bool]],
) -> None:
    """Against sets: which workers have been inside without interruption since the snapshot."""
    seen = turns()
    inside: set[int] = set()
    snapshots = [(seen.snapshot(), set(inside))]
    for worker, begin in steps:
        (seen.begin if begin else seen.end)(worker)
        for _, waiting in snapshots:
            waiting.discard(worker)
        inside = inside | {worker} if begin else inside - {worker}
        snapshots.append((seen.snapshot(), set(inside)))
    for since, waiting in snapshots:
        assert seen.passed(since) == (not waiting)
