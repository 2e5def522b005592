from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from dstmrouter.daemon import tsp_admission
from dstmrouter.daemon.tsp_admission import Admission

if TYPE_CHECKING:
    import pytest

HERE, NEIGHBOUR = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
THERE, ELSEWHERE = IPv6Address("2001:db8:0:1::1"), IPv6Address("2001:db8:0:2::1")


def admission(*, sessions: int = 3, per_64: int = 2) -> Admission:
    return Admission(sessions=sessions, sessions_per_64=per_64, requests_per_s=2.0, burst=3)


def test_a_source_has_a_burst_and_then_a_rate() -> None:
    found = admission()
    assert [found.may_ask(HERE, 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert not found.may_ask(NEIGHBOUR, 0.0)  # the same /64
    assert found.may_ask(THERE, 0.0)
    assert [found.may_ask(HERE, 0.5) for _ in range(2)] == [True, False]
    assert [found.may_ask(HERE, 100.0) for _ in range(4)] == [True, True, True, False]


def test_sources_are_forgotten_from_the_most_silent_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsp_admission, "SOURCES_LIMIT", 2)
    found = admission()
    for address in (HERE, THERE, HERE, HERE, ELSEWHERE):
        assert found.may_ask(address, 0.0)
    assert not found.may_ask(HERE, 0.0)  # three already; THERE went
    assert len(found._budgets) == 2


def test_sessions_are_limited_in_total_and_per_source() -> None:
    found = admission()
    assert [found.enter(HERE), found.enter(NEIGHBOUR), found.enter(HERE)] == [True, True, False]
    assert [found.enter(THERE), found.enter(ELSEWHERE)] == [True, False]
    found.leave(NEIGHBOUR)
    assert found.sessions == 2
    assert found.enter(ELSEWHERE)
    for address in (HERE, THERE, ELSEWHERE):
        found.leave(address)
    assert found.sessions == 0
    assert not found._inside
