"""The plan for made-up kernel states; real kernels are in `test_routing_live`."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import numpy as np
import pytest

from dstmrouter.daemon.gleaning import AGAIN_S
from dstmrouter.daemon.routing import REBUILD_S, SOLICIT_LIMIT
from dstmrouter.io.kernelobjects import (
    NUD_PERMANENT,
    Neighbour,
    Notice,
    Part,
    Route,
    RouteKind,
    Table,
)
from dstmrouter.io.kernelstate import Changes
from dstmrouter.pipeline.hops import (
    FIXED_HOPS,
    GLEAN_HOP,
    LOCAL_HOP,
    UNREACHABLE_HOP,
    HopState,
)
from tests.daemon.routing_plan import (
    CLIENT,
    INSIDE,
    OUTSIDE,
    Plan,
    connected_plan,
    lost,
    mac,
    neighbour,
    route,
)

HOUR_S = 3600.0
NOWHERE = (HopState.UNREACHABLE, 0, bytes(6))


@pytest.fixture(name="plan")
def plan_of_connected_ports() -> Plan:
    return connected_plan()


def test_nothing_known_leads_nowhere() -> None:
    plan = Plan()
    assert plan.to("198.51.100.1") == NOWHERE
    assert plan.client(CLIENT).tolist() == [UNREACHABLE_HOP]
    assert plan.routing.refresh(0.0) is None


def test_each_ipv4_destination_has_its_state(plan: Plan) -> None:
    assert plan.to("192.0.2.1")[0] is HopState.LOCAL
    assert plan.to("192.0.2.2")[0] is HopState.GLEAN
    assert plan.to("198.51.100.1") == (HopState.UNRESOLVED, 1, bytes(6))
    plan.tell(neighbour(OUTSIDE, "192.0.2.254", 9), neighbour(OUTSIDE, "192.0.2.2", 8))
    assert plan.to("198.51.100.1") == (HopState.RESOLVED, 1, mac(9))
    assert plan.to("192.0.2.2") == (HopState.RESOLVED, 1, mac(8))
    assert [plan.to(f"192.0.2.{n}")[0] for n in (1, 3)] == [HopState.LOCAL, HopState.GLEAN]


def test_a_neighbour_outside_its_prefix_changes_no_route(plan: Plan) -> None:
    plan.tell(neighbour(OUTSIDE, "198.51.100.1", 8), neighbour(INSIDE, "192.0.2.3", 8))
    assert plan.to("198.51.100.1")[0] is HopState.UNRESOLVED  # the gateway's
    assert plan.to("192.0.2.3")[0] is HopState.GLEAN  # on the other link


def test_neighbours_move_without_a_new_table(plan: Plan) -> None:
    plan.tell(neighbour(OUTSIDE, "192.0.2.254", 9), neighbour(OUTSIDE, "192.0.2.2", 8))
    changes = Changes()
    for notice in (neighbour(OUTSIDE, "192.0.2.254", 19), neighbour(OUTSIDE, "192.0.2.2", 18)):
        plan.state.apply(notice, changes)
    plan.routing.apply(changes, plan.now)
    assert plan.to("198.51.100.1")[2] == mac(19)  # before any refresh
    assert plan.to("192.0.2.2")[2] == mac(18)


def test_a_lost_neighbour_is_gleaned_again_and_a_lost_gateway_is_unresolved(plan: Plan) -> None:
    plan.tell(neighbour(OUTSIDE, "192.0.2.254", 9), neighbour(OUTSIDE, "192.0.2.2", 8))
    plan.tell(lost(OUTSIDE, "192.0.2.254"), lost(OUTSIDE, "192.0.2.2"))
    assert plan.to("192.0.2.2")[0] is HopState.GLEAN
    assert plan.to("198.51.100.1") == (HopState.UNRESOLVED, 1, bytes(6))


def test_clients_behind_a_gateway_share_its_hop(plan: Plan) -> None:
    hops = plan.client(CLIENT, "2001:db8:1:ffff::1", CLIENT)
    assert len(set(hops.tolist())) == 1
    plan.tell(neighbour(INSIDE, "fe80::1", 5))
    assert plan.words(hops[:1]) == [(HopState.RESOLVED, 0, mac(5))]


def test_clients_on_the_link_have_their_own_hops(plan: Plan) -> None:
    hops = plan.client("2001:db8::7", "2001:db8::8", "2001:db8::7", "2001:db8::")
    assert hops[0] == hops[2]
    assert len(set(hops.tolist())) == 3
    plan.tell(neighbour(INSIDE, "2001:db8::", 6), neighbour(INSIDE, "2001:db8::8", 8))
    states = [word[0] for word in plan.words(hops)]
    unresolved, resolved = HopState.UNRESOLVED, HopState.RESOLVED
    assert states == [unresolved, resolved, unresolved, resolved]


def test_our_own_address_as_a_client_is_local(plan: Plan) -> None:
    own = Route(ip_network("2001:db8::1/128"), RouteKind.LOCAL, (), Table.LOCAL)
    plan.tell(Notice(own))
    assert plan.client("2001:db8::1", "2001:db8:ffff::").tolist() == [LOCAL_HOP, UNREACHABLE_HOP]


def test_a_link_takes_its_hops_down_and_up_again(plan: Plan) -> None:
    plan.tell(neighbour(OUTSIDE, "192.0.2.254", 9), neighbour(INSIDE, "fe80::1", 5))
    hops = plan.client(CLIENT)
    plan.tell(plan.link(OUTSIDE, up=False))
    assert plan.to("198.51.100.1") == (HopState.UNREACHABLE, 1, bytes(6))
    assert plan.words(hops)[0][0] is HopState.RESOLVED  # the other port
    plan.tell(plan.link(OUTSIDE))
    assert plan.to("198.51.100.1") == (HopState.RESOLVED, 1, mac(9))


def test_an_interface_that_comes_back_with_another_index(plan: Plan) -> None:
    before = plan.routing.generation6
    plan.tell(Notice(plan.state.links[INSIDE], gone=True))
    assert plan.routing.port_links().keys() == {1}
    old = Notice(route("2001:db8:1::/48", INSIDE, "fe80::1"), gone=True)
    new = Notice(route("2001:db8:1::/48", 77, "fe80::1"))
    plan.tell(plan.link(77, name="in0"), old, new, neighbour(77, "fe80::1", 5))
    assert plan.routing.generation6 > before
    assert plan.words(plan.client(CLIENT)) == [(HopState.RESOLVED, 0, mac(5))]
    assert plan.routing.port_links()[0].ifindex == 77


def test_only_ipv6_routes_that_differ_have_bindings_resolved_again(plan: Plan) -> None:
    before = plan.routing.generation6
    plan.tell(Notice(route("198.51.100.0/24", OUTSIDE, "192.0.2.9")))
    plan.tell(neighbour(INSIDE, "fe80::1", 5))
    plan.tell(Notice(Route(ip_network("2001:db8:5::/48"), RouteKind.BLACKHOLE, (), metric=9)))
    generation = plan.routing.generation6
    assert generation == before + 1
    old = plan.client(CLIENT)
    plan.tell(Notice(route("2001:db8:1::/48", INSIDE, "fe80::2"), replaces=True))
    assert plan.routing.generation6 == generation + 1
    assert plan.client(CLIENT).tolist() != old.tolist()


def test_hops_that_bindings_no_longer_name_are_given_to_others() -> None:
    plan = Plan(hops=FIXED_HOPS + 2)
    plan.tell(plan.link(INSIDE), Notice(route("2001:db8::/64", INSIDE)))
    first = plan.client("2001:db8::1", "2001:db8::2", "2001:db8::3")
    assert min(first.tolist()) == UNREACHABLE_HOP
    assert plan.routing.counters()["hops_refused"] == 1
    generation = plan.routing.generation6
    kept = first[first != UNREACHABLE_HOP][:1]
    assert plan.routing.retain6(kept) == 1
    assert plan.routing.refresh(plan.now) is None
    assert plan.routing.generation6 == generation + 1, "who was refused must be resolved again"
    assert plan.routing.refresh(plan.now) is None
    assert plan.routing.generation6 == generation + 1
    assert plan.client("2001:db8::3")[0] not in (UNREACHABLE_HOP, kept[0])


def test_hops_of_routes_are_kept_when_bindings_go(plan: Plan) -> None:
    plan.tell(neighbour(OUTSIDE, "192.0.2.254", 9))
    plan.client(CLIENT)
    assert plan.routing.retain6(np.empty(0, np.uint32)) == 1
    assert plan.to("198.51.100.1") == (HopState.RESOLVED, 1, mac(9))


def test_gateways_that_routes_left_are_released(plan: Plan) -> None:
    for number in range(100):  # more than there are hops
        gateway = f"192.0.2.{100 + number}"
        plan.tell(Notice(route("0.0.0.0/0", OUTSIDE, gateway), replaces=True))
        assert plan.to("198.51.100.1")[0] is HopState.UNRESOLVED
    assert plan.routing.counters()["hops_refused"] == 0
    assert plan.routing.counters()["hops"] == 1


def test_tables_are_published_only_when_no_worker_reads_the_old_one(plan: Plan) -> None:
    plan.tell(Notice(route("198.51.100.0/24", OUTSIDE, "192.0.2.9")))
    plan.turns.begin(0)
    plan.tell(Notice(route("0.0.0.0/0", OUTSIDE, "192.0.2.253"), replaces=True))
    changes = Changes(routes={Part.ROUTES4})
    plan.routing.apply(changes, plan.now)
    plan.now += 1
    again = plan.routing.refresh(plan.now)
    assert again is not None
    assert again > plan.now
    plan.turns.end(0)
    assert plan.routing.refresh(plan.now) is None


def test_changes_in_a_row_are_compiled_together(plan: Plan) -> None:
    plan.routing.apply(Changes(routes={Part.ROUTES4}), plan.now)
    plan.now += 1.0
    assert plan.routing.refresh(plan.now) is None
    plan.routing.apply(Changes(routes={Part.ROUTES4}), plan.now)
    again = plan.routing.refresh(plan.now + REBUILD_S / 2)
    assert again is not None
    assert REBUILD_S <= again - plan.now < 2 * REBUILD_S
    assert plan.routing.refresh(again) is None


def test_more_intervals_than_fit_leave_the_routes_of_before() -> None:
    plan = Plan(intervals=4)
    plan.tell(plan.link(OUTSIDE), Notice(route("192.0.2.0/24", OUTSIDE)))
    assert plan.to("192.0.2.9")[0] is HopState.GLEAN
    plan.tell(Notice(route("198.51.100.0/24", OUTSIDE)), Notice(route("203.0.113.0/24", OUTSIDE)))
    assert plan.routing.counters()["routes4_refused"] == 1
    assert plan.to("192.0.2.9")[0] is HopState.GLEAN
    assert plan.to("203.0.113.9")[0] is HopState.UNREACHABLE


def test_unknown_destinations_on_the_link_are_asked_for(plan: Plan) -> None:
    plan.routing.to_solicit(plan.now)  # the gateway
    plan.glean("192.0.2.7", "198.51.100.1", "192.0.2.7", "192.0.2.1")
    assert plan.routing.to_solicit(plan.now) == [(OUTSIDE, IPv4Address("192.0.2.7"))]
    plan.glean("192.0.2.7")
    assert plan.routing.to_solicit(plan.now + AGAIN_S / 2) == []


def test_a_neighbour_found_meanwhile_is_not_asked_for(plan: Plan) -> None:
    plan.routing.to_solicit(plan.now)
    plan.tell(neighbour(OUTSIDE, "192.0.2.7", 7))
    plan.glean("192.0.2.7")  # a report from before
    assert (OUTSIDE, IPv4Address("192.0.2.7")) not in plan.routing.to_solicit(plan.now)


def test_a_neighbour_that_somebody_has_set_is_never_asked_for(plan: Plan) -> None:
    gateway = (OUTSIDE, IPv4Address("192.0.2.254"))
    plan.tell(neighbour(OUTSIDE, "192.0.2.254", 9))
    assert gateway in plan.routing.to_solicit(plan.now + HOUR_S)
    plan.tell(Notice(Neighbour(*gateway, mac(9), NUD_PERMANENT)))
    assert plan.routing.to_solicit(plan.now + 2 * HOUR_S) == []


def test_a_scan_cannot_keep_the_gateway_from_being_asked_for(plan: Plan) -> None:
    plan.glean(*(f"192.0.2.{n}" for n in range(2, 250)))
    asked = plan.routing.to_solicit(plan.now + 1)
    assert len(asked) <= SOLICIT_LIMIT
    assert (OUTSIDE, IPv4Address("192.0.2.254")) in asked


def test_glean_hop_is_the_one_workers_know(plan: Plan) -> None:
    column = np.array([int(IPv4Address("192.0.2.9"))], np.uint32)
    assert plan.routes4.lookup(column).tolist() == [GLEAN_HOP]
