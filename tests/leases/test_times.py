from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.leases.lease import LeaseTerms
from dstmrouter.leases.times import (
    Moment,
    StoredTimes,
    binding_lifetimes_s,
    client_lifetime_s,
    restored_until,
    routers_until,
)

SECONDS = st.floats(0, 1e6)
GRACE_S = LeaseTerms().grace_s


def router_lifetime_s(until: float, now: float, grace_s: float = GRACE_S) -> int:
    return int(binding_lifetimes_s(np.array([until]), now, grace_s)[0])


@given(sent=SECONDS, way_s=st.floats(0, 30), lifetime_s=st.floats(1, 1e5), late_s=st.floats(0, 30))
def test_client_ends_first_then_server_then_routers(
    sent: float, way_s: float, lifetime_s: float, late_s: float
) -> None:
    """The request takes `way_s` to the server, and the binding `late_s` to a router."""
    granted = sent + way_s
    until = granted + lifetime_s
    client_ends = sent + client_lifetime_s(until, granted)
    router_ends = granted + late_s + router_lifetime_s(until, granted)
    assert client_ends <= until <= routers_until(until, GRACE_S) <= router_ends + 1e-6


@given(st.floats(-10, 10))
def test_what_is_over_is_zero(left_s: float) -> None:
    assert client_lifetime_s(left_s, 0.0) == max(0, int(left_s))
    assert router_lifetime_s(left_s, 0.0, 0.0) == max(0, int(np.ceil(left_s)))


def test_a_binding_never_lives_forever_by_its_length() -> None:
    assert router_lifetime_s(1e12, 0.0) == 0xFFFFFFFE


def restored(written: Moment, left_s: float, now: Moment) -> float:
    """What is left, `now`, of a state that had `left_s` left when it was `written`."""
    stored = StoredTimes(
        unix=np.array([written.unix + left_s]),
        monotonic=np.array([written.monotonic + left_s]),
        boot=np.array([written.boot]),
        written_unix=np.array([written.unix]),
    )
    return float(restored_until(stored, now)[0]) - now.monotonic


CLOCK_STEPS = st.floats(-1e7, 1e7)


@given(left_s=st.floats(0, 1e5), passed_s=st.floats(0, 1e5), step_s=CLOCK_STEPS)
def test_within_a_boot_no_setting_of_the_wall_clock_matters(
    left_s: float, passed_s: float, step_s: float
) -> None:
    now = Moment(1e9 + passed_s + step_s, 50.0 + passed_s, boot=1)
    assert restored(Moment(1e9, 50.0, 1), left_s, now) == pytest.approx(left_s - passed_s)


@given(left_s=st.floats(0, 1e5), passed_s=st.floats(0, 1e5), uptime_s=st.floats(0, 1e6))
def test_after_a_boot_the_wall_clock_counts(
    left_s: float, passed_s: float, uptime_s: float
) -> None:
    now = Moment(1e9 + passed_s, uptime_s, boot=2)
    assert restored(Moment(1e9, 50.0, 1), left_s, now) == pytest.approx(left_s - passed_s, abs=1e-5)


@given(left_s=st.floats(0, 1e5), passed_s=st.floats(0, 1e5), back_s=st.floats(0, 1e8))
def test_a_clock_set_back_over_a_boot_never_makes_a_lease_longer_than_it_was(
    left_s: float, passed_s: float, back_s: float
) -> None:
    now = Moment(1e9 + passed_s - back_s, 7.0, boot=2)
    left_then_s = restored(Moment(1e9, 50.0, 1), left_s, now)
    assert left_s - passed_s - 1e-5 <= left_then_s <= left_s + 1e-5
