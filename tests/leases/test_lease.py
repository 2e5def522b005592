from __future__ import annotations

import dataclasses

import pytest

from dstmrouter.leases.lease import LeaseTerms
from dstmrouter.leases.state import State
from tests.leases.lending import book_of, wish


@pytest.mark.parametrize(
    ("wanted_s", "given_s"), [(None, 900), (0, 60), (59.9, 60), (61, 61), (1e9, 86400)]
)
def test_lifetime_stays_within_the_terms(wanted_s: float | None, given_s: float) -> None:
    assert LeaseTerms().lifetime_s(wanted_s) == given_s


@pytest.mark.parametrize("state", State)
def test_only_offered_and_active_leases_are_bound(state: State) -> None:
    lease = dataclasses.replace(book_of(1).grant(wish(1), 0.0), state=state)
    assert lease.bound == (state in {State.OFFERED, State.ACTIVE})
