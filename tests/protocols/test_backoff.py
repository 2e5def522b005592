from __future__ import annotations

import random

import pytest

from dstmrouter.protocols.backoff import Backoff


def test_doubles_up_to_the_longest() -> None:
    steady = Backoff(lambda: 0.5)
    assert [steady.delay_s() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    steady.reset()
    assert steady.delay_s() == 1
    steady.give_up()
    assert steady.delay_s() == 120


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.9), (1.0, 1.1)])
def test_jitter_is_ten_percent(chance: float, factor: float) -> None:
    jittery = Backoff(lambda: chance)
    assert [jittery.delay_s() for _ in range(3)] == pytest.approx([factor, 2 * factor, 4 * factor])


def test_hosts_get_out_of_step() -> None:
    hosts = [Backoff(random.Random(seed).random) for seed in range(20)]
    assert len({host.delay_s() for host in hosts}) == 20


def test_a_servers_wish_is_a_lower_bound_within_reason() -> None:
    steady = Backoff(lambda: 0.5)
    assert steady.delay_s(30) == 30
    assert steady.delay_s(0.1) == 2
    assert steady.delay_s(-5) == 4
    assert steady.delay_s(1e12) == 600


def test_a_wish_does_not_change_what_follows() -> None:
    steady = Backoff(lambda: 0.5)
    steady.delay_s(30)
    assert steady.delay_s() == 2
