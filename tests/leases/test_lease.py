from __future__ import annotations

import dataclasses

import pytest

from dstmrouter.errors import LeaseError
from dstmrouter.leases.lease import LeaseTerms, check_request
from dstmrouter.leases.state import State
from tests.leases.lending import TEP6, book_of, wish


@pytest.mark.parametrize(
    ("wanted_s", "given_s"), [(None, 900), (0, 60), (59.9, 60), (61, 61), (1e9, 86400)]
)
def test_lifetime_stays_within_the_terms(wanted_s: float | None, given_s: float) -> None:
    assert LeaseTerms().lifetime_s(wanted_s) == given_s


@pytest.mark.parametrize("state", State)
def test_only_offered_and_active_leases_are_bound(state: State) -> None:
    lease = dataclasses.replace(book_of(1).grant(wish(1), 0.0), state=state)
    assert lease.bound == (state in {State.OFFERED, State.ACTIVE})


@pytest.mark.parametrize("identity", ["nul\0", "half \ud800", "x" * 256])
def test_identities_that_no_store_keeps_are_refused(identity: str) -> None:
    with pytest.raises(LeaseError) as refused:
        check_request(wish(1, identity=identity), [TEP6])
    assert refused.value.reason == "bad-identity"
    str(refused.value).encode()  # can be logged and sent
    check_request(wish(1, identity="änn 🦆"), [TEP6])
