from __future__ import annotations

import pytest

from dstmrouter.protocols.term import Term
from tests.protocols.leases import OTHER4, lease


def test_times_count_from_the_request() -> None:
    term = Term(lease(lifetime_s=1000), sent_at=50.0)
    assert (term.t1, term.t2, term.expires_at) == (550.0, 925.0, 1050.0)


@pytest.mark.parametrize(
    ("lifetime_s", "now", "before", "expected"),
    [
        (1000, 100.0, 500.0, 300.0),  # half of what remains
        (1000, 100.0, 140.0, 160.0),  # at least 60 s
        (120, 0.0, 10.0, 60.0),
        (119, 0.0, 10.0, 5.0),  # 60 s would be everything
        (10, 0.0, 1.0, 1.0),
    ],
)
def test_retries(lifetime_s: int, now: float, before: float, expected: float) -> None:
    assert Term(lease(lifetime_s=lifetime_s), 0.0).retry_at(now, before) == expected


def test_another_lifetime_is_the_same_tunnel() -> None:
    term = Term(lease(), 0.0)
    assert term.same_tunnel(Term(lease(lifetime_s=5, lease_id=9), 7.0))
    assert not term.same_tunnel(Term(lease(OTHER4), 0.0))
    assert not term.same_tunnel(Term(lease(mtu=1400), 0.0))
