"""Faults come by chance, all kinds of them, and the same again by the same seed."""

from __future__ import annotations

import pytest

from lab.faults.network import ROUTERS
from lab.faults.plan import LONGEST_S, SERVER, SHORTEST_S, Fault, Kind, faults


def test_every_kind_comes_before_one_comes_again() -> None:
    kinds = [fault.kind for fault in faults(3 * len(Kind), seed=5)]
    for begin in range(0, len(kinds), len(Kind)):
        assert set(kinds[begin : begin + len(Kind)]) == set(Kind)


def test_both_routers_and_both_orders_come() -> None:
    many = list(faults(100, seed=5))
    assert {fault.router for fault in many} == set(ROUTERS)
    assert {fault.router_first for fault in many if fault.kind is Kind.BOTH_KILLED} == {True, False}
    assert all(SHORTEST_S <= fault.seconds <= LONGEST_S for fault in many)


def test_the_seed_decides() -> None:
    assert list(faults(20, seed=1)) == list(faults(20, seed=1))
    assert list(faults(20, seed=1)) != list(faults(20, seed=2))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_fault_pulls_cables_or_kills(kind: Kind) -> None:
    fault = Fault(kind, "gw2", 1.5, router_first=True)
    assert bool(fault.cables()) != bool(fault.killed())
    touched = " ".join(fault.cables() + fault.killed())
    assert (SERVER in touched) == ("SERVER" in kind.name or "BOTH" in kind.name)
    assert ("gw2" in touched) == (kind not in {Kind.SERVER_CUT, Kind.SERVER_KILLED})
    forwards = {Kind.SERVER_CUT, Kind.ROUTER_ALONE, Kind.SERVER_KILLED}
    assert fault.stops_forwarding() == (kind not in forwards)
    assert "1.5 s" in str(fault)


@pytest.mark.parametrize("router_first", [True, False])
def test_who_comes_back_first(router_first: bool) -> None:
    fault = Fault(Kind.BOTH_KILLED, "gw1", 1.0, router_first)
    assert fault.killed() == (("gw1", SERVER) if router_first else (SERVER, "gw1"))
    assert str(fault).endswith(f"{fault.killed()[0]} is back first")
