"""What is taken from a CPU."""

from __future__ import annotations

import os

import pytest

from perf.rfc8219.pauses import Pauses, pauses_of

CPU = min(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority needs root")


def test_time_between_any_two_looks_is_all_of_it() -> None:
    pauses = pauses_of(CPU, look_ns=1_000_000, least_ns=0)
    assert pauses.share >= 1  # the last one ends after the time to look
    assert 0 < pauses.longest_s <= pauses.share * 1e-3


def test_short_pauses_do_not_count() -> None:
    assert pauses_of(CPU, look_ns=1_000_000, least_ns=1 << 60) == Pauses(0, 0)


def test_the_caller_stays_as_it_is() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    pauses_of(CPU, look_ns=1000)
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before


def test_it_reads_as_a_sentence() -> None:
    assert str(Pauses(0.0123, 0.00045)) == "1.23 % of the time, 0.45 ms at most"


def test_a_cpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        pauses_of(1023)
