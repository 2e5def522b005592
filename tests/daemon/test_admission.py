from __future__ import annotations

from ipaddress import IPv6Address

from dstmrouter.daemon.admission import Admission
from dstmrouter.daemon.stream_connection import StreamTally
from dstmrouter.leases.rate import Rate

HERE, NEIGHBOUR = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
THERE, ELSEWHERE = IPv6Address("2001:db8:0:1::1"), IPv6Address("2001:db8:0:2::1")


def admission(*, sessions: int = 3, per_64: int = 2) -> Admission:
    return Admission(total=sessions, per_source=per_64, rate=Rate(per_s=2.0, burst=3))


def test_a_source_has_a_burst_and_then_a_rate() -> None:
    found = admission()
    assert [found.may_ask(HERE, 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert not found.may_ask(NEIGHBOUR, 0.0)  # the same /64
    assert found.may_ask(THERE, 0.0)
    assert [found.may_ask(HERE, 0.5) for _ in range(2)] == [True, False]
    assert [found.may_ask(HERE, 100.0) for _ in range(4)] == [True, True, True, False]


def test_without_a_rate_everybody_may_ask() -> None:
    found = Admission(total=1, per_source=1)
    assert all(found.may_ask(HERE, 0.0) for _ in range(1000))


def test_peers_are_limited_in_total_and_per_source() -> None:
    found = admission()
    assert [found.enter(HERE), found.enter(NEIGHBOUR)] == [None, None]
    assert found.enter(HERE) is StreamTally.REFUSED_SOURCE
    assert found.enter(THERE) is None
    assert found.enter(ELSEWHERE) is StreamTally.REFUSED_TOTAL
    found.leave(NEIGHBOUR)
    assert len(found) == 2
    assert found.enter(ELSEWHERE) is None
    for address in (HERE, THERE, ELSEWHERE):
        found.leave(address)
    assert len(found) == 0
    assert not found._inside_of
