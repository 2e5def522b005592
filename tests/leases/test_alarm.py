from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.leases.alarm import HYSTERESIS, LEVELS, Crossing, PoolAlarms


def crossings(*used: float) -> list[tuple[int, int]]:
    alarms = PoolAlarms(1)
    found = [crossing for percent in used for crossing in alarms.update([percent])]
    return [(crossing.before, crossing.after) for crossing in found]


def test_each_level_is_told_once_on_the_way_up_and_down() -> None:
    assert crossings(10, 79.9, 80, 85, 94, 95, 100, 91, 89.9, 76, 74.9, 0) == [
        (0, 80),
        (80, 95),
        (95, 80),
        (80, 0),
    ]


def test_going_up_and_down_around_a_level_is_told_once() -> None:
    assert crossings(80, 79, 80, 76, 81, 75) == [(0, 80)]


def test_a_jump_over_both_levels_is_one_crossing() -> None:
    assert crossings(100, 0) == [(0, 95), (95, 0)]


def test_pools_are_apart() -> None:
    alarms = PoolAlarms(2)
    assert alarms.update([0, 96]) == [Crossing(1, 0, 95, 96)]
    assert alarms.update([81, 96]) == [Crossing(0, 0, 80, 81)]
    assert alarms.levels == [80, 95]
    (over,) = alarms.update([81, 0])
    assert not over.rising


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_level_is_never_missed_and_never_kept_too_long(walk: list[float]) -> None:
    alarms = PoolAlarms(1)
    for percent in walk:
        alarms.update([percent])
        (level,) = alarms.levels
        assert level >= max((each for each in LEVELS if percent >= each), default=0)
        assert level == 0 or percent >= level - HYSTERESIS
