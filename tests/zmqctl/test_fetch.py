from __future__ import annotations

from dstmrouter.zmqctl.fetch import GIVE_UP_S, RETRY_S, WINDOW, SnapshotFetch
from dstmrouter.zmqctl.messages import SnapshotPart
from tests.zmqctl.samples import puts

EPOCH = b"e" * 16


def fetch(start_at: float = 0.0) -> SnapshotFetch:
    return SnapshotFetch(router="r1", epoch=EPOCH, at_least=5, start_at=start_at)


def part(number: int, parts: int = 10, generation: int = 7, epoch: bytes = EPOCH) -> SnapshotPart:
    return SnapshotPart(
        epoch=epoch, generation=generation, part=number, parts=parts, age_s=0, bindings=puts(0, 1)
    )


def asked(one: SnapshotFetch, now: float) -> list[int]:
    return [request.part for request in one.requests(now)]


def test_asks_for_the_first_part_when_it_is_time() -> None:
    one = fetch(start_at=3.0)
    assert asked(one, 2.9) == []
    assert one.next_timer() == 3.0
    assert asked(one, 3.0) == [0]
    assert asked(one, 3.1) == []


def test_keeps_a_window_of_parts_ahead_of_the_table() -> None:
    one = fetch()
    asked(one, 0)
    assert one.accept(part(0), 0)
    assert asked(one, 0) == list(range(1, WINDOW))
    for number in range(1, WINDOW):
        assert one.accept(part(number), 0)
    assert asked(one, 0) == []
    assert one.next_timer() is None  # nothing under way: the table is the slow one
    one.applied()
    assert asked(one, 0) == [WINDOW]


def test_is_complete_with_the_last_part() -> None:
    one = fetch()
    asked(one, 0)
    assert one.accept(part(0, parts=2), 0)
    assert not one.complete
    assert asked(one, 0) == [1]
    assert one.accept(part(1, parts=2), 0)
    assert one.complete
    assert one.generation == 7
    assert one.requests(1e9) == []


def test_lost_parts_are_asked_for_again() -> None:
    one = fetch()
    asked(one, 0)
    assert asked(one, RETRY_S - 0.1) == []
    assert asked(one, RETRY_S) == [0]
    assert one.accept(part(0), RETRY_S)
    assert asked(one, RETRY_S) == [1, 2, 3]
    assert one.accept(part(1), RETRY_S)
    assert asked(one, 2 * RETRY_S) == [2, 3]


def test_snapshot_the_server_forgot_is_given_up_for_another() -> None:
    one = fetch()
    asked(one, 0)
    assert one.accept(part(0), 0)
    asked(one, 0)
    for retry in range(1, round(GIVE_UP_S / RETRY_S)):
        assert asked(one, retry * RETRY_S) == [1, 2, 3]
    again = one.requests(GIVE_UP_S)
    assert [(request.part, request.generation) for request in again] == [(0, 5)]
    assert one.accept(part(0, generation=9), GIVE_UP_S)
    assert one.generation == 9


def test_refuses_what_is_not_the_next_part() -> None:
    one = fetch()
    asked(one, 0)
    assert not one.accept(part(1), 0)
    assert not one.accept(part(0, generation=4), 0)  # older than the feed already is
    assert not one.accept(part(0, epoch=b"f" * 16), 0)
    assert one.accept(part(0), 0)
    assert not one.accept(part(1), 0)  # not asked for: it would be beyond the window
    asked(one, 0)
    assert not one.accept(part(0), 0)
    assert not one.accept(part(1, generation=8), 0)
    assert not one.accept(part(1, parts=11), 0)
    assert one.accept(part(1), 0)


def test_part_behind_the_last_is_refused() -> None:
    one = fetch()
    asked(one, 0)
    assert one.accept(part(0, parts=1), 0)
    assert not one.accept(part(1, parts=1), 0)
