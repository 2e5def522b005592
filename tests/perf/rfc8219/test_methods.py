"""What methods make of counts and delays, without any device."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perf.rfc8219.frames import Direction
from perf.rfc8219.latency import worst
from perf.rfc8219.loss import loads
from perf.rfc8219.pdv import variation
from perf.rfc8219.recovery import last_loss
from perf.rfc8219.reset import longest_outage
from perf.rfc8219.shared import SLOTS
from perf.rfc8219.trial import Outcome, Stream, slot_shift
from tests.perf.rfc8219.test_histogram import delays_of

SLOT_S = 0.5


def stream(sent: list[int], received: list[int]) -> Stream:
    return Stream(
        sent=sum(sent),
        received=sum(received),
        strange=0,
        reordered=0,
        seconds=2.0,
        delays=delays_of([1000, 1100, 5000]),
        sent_slots=np.array(sent, np.uint64),
        received_slots=np.array(received, np.uint64),
        slot_s=SLOT_S,
    )


def test_a_stream_tells_its_loss_and_rates() -> None:
    one = stream([10, 10], [10, 8])
    assert (one.lost, one.loss, one.offered, one.forwarded) == (2, 0.1, 10.0, 9.0)


def test_an_outcome_is_that_of_its_worse_direction() -> None:
    streams = {Direction.ENCAP: stream([10], [10]), Direction.DECAP: stream([20], [19])}
    outcome = Outcome(streams)
    assert (outcome.loss, outcome.offered, outcome.forwarded) == (0.05, 5.0, 5.0)


def test_more_received_than_sent_is_no_negative_loss() -> None:
    assert stream([10], [11]).lost == 0


@pytest.mark.parametrize(
    ("received", "seconds"),
    [([9, 9, 9, 9], 0.0), ([0, 9, 9, 9], 0.0), ([0, 9, 8, 9], 0.5), ([9, 9, 9, 8], 1.0)],
)
def test_recovery_ends_with_the_last_slot_that_lost(received: list[int], seconds: float) -> None:
    assert last_loss(stream([9, 9, 9, 9], received), 2 * SLOT_S) == seconds


@pytest.mark.parametrize(
    ("sent", "received", "seconds"),
    [
        ([9, 9, 9], [9, 9, 9], 0.0),
        ([9, 9, 9], [9, 8, 9], 0.0),  # a loss, but no silence
        ([9, 9, 9, 9, 9], [9, 0, 0, 9, 0], 1.0),
        ([9, 9, 0, 9, 9], [9, 0, 0, 0, 9], 1.5),  # nothing was sent in the middle
        ([0, 0, 9, 9, 0], [0, 0, 9, 9, 0], 0.0),
        ([9, 9, 9], [0, 0, 0], 1.5),
    ],
)
def test_an_outage_is_the_longest_silence(
    sent: list[int], received: list[int], seconds: float
) -> None:
    assert longest_outage(stream(sent, received)) == seconds


def test_loads_go_down_to_the_last_that_is_not_nothing() -> None:
    assert loads(10) == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10]
    assert loads(30) == [100, 70, 40, 10]


def test_the_worse_direction_counts() -> None:
    both = [delays_of([1000] * 9), delays_of([3000] * 9)]
    assert worst(both, 50) == pytest.approx(3000, rel=0.01)
    assert worst(both, None) == 3000
    assert math.isnan(worst([], 50))


def test_variation_of_delays() -> None:
    found = variation(delays_of([1000, 1100, 5000]))
    assert found["PDV"] == pytest.approx(4000, rel=0.01)
    assert (found["IPDV min"], found["IPDV median"], found["IPDV max"]) == (100, 2000, 3900)
    assert found["IPDV mean deviation"] == 2000


def test_slots_are_fine_and_long_enough() -> None:
    for seconds in (0.01, 0.2, 1, 60, 600):
        span = SLOTS * (1 << slot_shift(seconds)) / 1e9
        assert 2 * seconds + 2 <= span <= 2 * (2 * seconds + 2) + 0.001
