from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import LeaseError
from dstmrouter.leases.rate import Rate, Throttle, TokenBuckets

HERE, THERE = IPv6Address("2001:db8::1"), IPv6Address("2001:db8:0:1::1")


@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.sampled_from([0.5, 1, 4]),
    st.integers(1, 5),
)
def test_admits_what_a_bucket_of_tokens_does(steps: list[float], per_s: float, burst: int) -> None:
    buckets = TokenBuckets(Rate(per_s=per_s, burst=burst))
    tokens, now = float(burst), 100.0
    for step in steps:
        now += step
        tokens = min(float(burst), tokens + step * per_s)
        wait_s = buckets.wait_s(7, now)
        assert wait_s == pytest.approx(max(0.0, (1 - tokens) / per_s), abs=1e-6)
        if wait_s == 0:
            buckets.take(7, now)
            tokens -= 1


def test_no_limit_keeps_no_buckets() -> None:
    buckets = TokenBuckets(Rate())
    for key in range(100):
        assert buckets.wait_s(key, 0.0) == 0.0
        buckets.take(key, 0.0)
    assert len(buckets) == 0


def test_the_buckets_used_last_are_remembered() -> None:
    buckets = TokenBuckets(Rate(per_s=1), limit=3)
    for key in (1, 2, 3, 1, 4):
        buckets.take(key, 0.0)
    assert len(buckets) == 3
    assert [buckets.wait_s(key, 0.0) > 0 for key in (1, 2, 3, 4)] == [True, False, True, True]


def throttle(per_64: float = 0, total: float = 0) -> Throttle:
    return Throttle(per_64=Rate(per_s=per_64, burst=2), total=Rate(per_s=total, burst=3))


def refused(throttle: Throttle, client6: IPv6Address, now: float, *, holds: bool = False) -> bool:
    try:
        throttle.admit(client6, now, holds=holds)
    except LeaseError as error:
        assert error.reason == "rate-limit"  # noqa: PT017 - nothing else is refused here
        return True
    return False


def test_each_network_has_its_own_bucket() -> None:
    each = throttle(per_64=1)
    assert [refused(each, HERE + n, 0.0) for n in range(3)] == [False, False, True]
    assert not refused(each, THERE, 0.0)
    assert not refused(each, HERE, 1.0)
    assert each.refused == 1


def test_all_share_one_bucket_but_holders_do_not() -> None:
    common = throttle(total=1)
    networks = [HERE + (n << 64) for n in range(4)]
    assert [refused(common, client6, 0.0) for client6 in networks] == [False] * 3 + [True]
    assert not refused(common, networks[3], 0.0, holds=True)


def test_a_refusal_costs_nothing() -> None:
    both = throttle(per_64=1, total=1)
    assert [refused(both, HERE, 0.0) for _ in range(10)] == [False, False] + [True] * 8
    assert not refused(both, THERE, 0.0)  # the third token of all
    assert not refused(both, HERE, 1.0)


def test_the_refusal_says_how_long_to_wait() -> None:
    slow = throttle(per_64=0.1)
    slow.admit(HERE, 0.0, holds=False)
    slow.admit(HERE, 0.0, holds=False)
    with pytest.raises(LeaseError, match=r"try again in 7\.5 s"):
        slow.admit(HERE, 2.5, holds=True)


def test_a_clock_that_stands_still_or_a_quiet_year_do_no_harm() -> None:
    each = throttle(per_64=1)
    assert [refused(each, HERE, 3e7) for _ in range(3)] == [False, False, True]


def test_a_token_that_is_not_there_cannot_be_taken() -> None:
    buckets = TokenBuckets(Rate(per_s=1, burst=2))
    assert [buckets.try_take(7, 100.0) for _ in range(3)] == [True, True, False]
    assert buckets.try_take(7, 101.0)
