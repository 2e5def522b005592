from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.io.kernelobjects import (
    NUD_STALE,
    Address,
    KernelObject,
    Link,
    Neighbour,
    NextHop,
    Notice,
    Part,
    Route,
    RouteKind,
)
from dstmrouter.io.kernelstate import ROUTES, Changes, KernelState

MAC = bytes.fromhex("020000000001")
LINK = Link(3, "eth0", MAC, 1500, up=True)
ADDRESS = Address(3, IPv4Address("192.0.2.1"), 24)
NEIGHBOUR = Neighbour(3, IPv4Address("192.0.2.2"), MAC, NUD_STALE)
DST = IPv4Network("198.51.100.0/24")


def route(gateway: int, metric: int = 0) -> Route:
    hop = NextHop(3, IPv4Address(f"192.0.2.{gateway}"))
    return Route(DST, RouteKind.UNICAST, (hop,), metric=metric)


def settled(*objects: KernelObject) -> KernelState:
    """A state in which nothing is doubtful."""
    state = KernelState()
    for part in Part:
        state.replace(part, [o for o in objects if Notice(o).part is part], Changes())
    return state


def tell(state: KernelState, *notices: Notice) -> Changes:
    changes = Changes()
    for notice in notices:
        state.apply(notice, changes)
    return changes


def first_routes(state: KernelState) -> list[Route]:
    return [group[0] for group in state.routes[Part.ROUTES4].values()]


def test_everything_is_doubtful_at_first() -> None:
    assert KernelState().doubtful == set(Part)
    assert settled().doubtful == set()


def test_each_object_comes_changes_and_goes() -> None:
    state = settled()
    assert tell(state, Notice(LINK)) == Changes(links={3})
    assert tell(state, Notice(LINK)) == Changes()
    assert state.link_named("eth0") == LINK
    assert tell(state, Notice(ADDRESS)) == Changes(addresses={3})
    assert tell(state, Notice(NEIGHBOUR)) == Changes(neighbours={NEIGHBOUR.key})
    moved = dataclasses.replace(NEIGHBOUR, mac=bytes(6))
    assert tell(state, Notice(moved)) == Changes(neighbours={NEIGHBOUR.key})
    assert state.neighbours[NEIGHBOUR.key].mac == bytes(6)
    assert tell(state, Notice(moved, gone=True)) == Changes(neighbours={NEIGHBOUR.key})
    assert tell(state, Notice(moved, gone=True)) == Changes()
    assert tell(state, Notice(LINK, gone=True)) == Changes(links={3})
    assert state.link_named("eth0") is None


def test_a_lone_route_is_added_replaced_and_removed_without_doubt() -> None:
    state = settled()
    assert tell(state, Notice(route(2))) == Changes(routes={Part.ROUTES4})
    assert tell(state, Notice(route(2))) == Changes()
    tell(state, Notice(route(3), replaces=True))
    assert first_routes(state) == [route(3)]
    tell(state, Notice(route(9, metric=5)))
    assert first_routes(state) == [route(3), route(9, metric=5)]
    tell(state, Notice(route(3), gone=True))
    assert first_routes(state) == [route(9, metric=5)]
    assert state.doubtful == set()


@pytest.mark.parametrize(
    "notice",
    [
        Notice(route(4)),  # before or behind the others?
        Notice(route(4), gone=True),  # not known
        Notice(route(4), replaces=True),  # which of the two?
    ],
    ids=["joined", "left", "replaced"],
)
def test_what_a_notice_does_not_tell_is_doubtful(notice: Notice) -> None:
    state = settled(route(2), route(3))
    assert tell(state, notice) == Changes()
    assert first_routes(state) == [route(2)]
    assert state.doubtful == {Part.ROUTES4}


def test_removing_one_of_two_routes_leaves_the_other() -> None:
    state = settled(route(2), route(3))
    assert tell(state, Notice(route(2), gone=True)) == Changes(routes={Part.ROUTES4})
    assert first_routes(state) == [route(3)]
    assert state.doubtful == set()


def test_a_route_that_is_not_known_can_go_without_doubt() -> None:
    state = settled()
    assert tell(state, Notice(route(2), gone=True)) == Changes()
    assert state.doubtful == set()


@pytest.mark.parametrize(
    "notice",
    [Notice(LINK, gone=True), Notice(dataclasses.replace(LINK, up=False))],
    ids=["gone", "down"],
)
def test_a_link_that_leaves_makes_routes_doubtful(notice: Notice) -> None:
    state = settled(LINK)
    tell(state, notice)
    assert state.doubtful == ROUTES


def test_an_address_that_leaves_makes_ipv4_routes_doubtful() -> None:
    address6 = Address(3, IPv6Address("2001:db8::1"), 64)
    state = settled(ADDRESS, address6)
    tell(state, Notice(address6, gone=True))
    assert state.doubtful == set()
    tell(state, Notice(ADDRESS, gone=True))
    assert state.doubtful == {Part.ROUTES4}


def test_replace_tells_only_what_differs() -> None:
    other = Neighbour(3, IPv4Address("192.0.2.3"), MAC, NUD_STALE)
    new = Neighbour(3, IPv4Address("192.0.2.4"), MAC, NUD_STALE)
    state = settled(NEIGHBOUR, other, route(2))
    changes = Changes()
    state.replace(Part.NEIGHBOURS, [other, new], changes)
    assert changes == Changes(neighbours={NEIGHBOUR.key, new.key})
    assert set(state.neighbours.values()) == {other, new}
    changes = Changes()
    state.replace(Part.ROUTES4, [route(2)], changes)
    assert not changes
    state.replace(Part.ROUTES4, [], changes)
    assert changes == Changes(routes={Part.ROUTES4})


def test_ipv6_routes_are_apart() -> None:
    route6 = Route(IPv6Network("::/0"), RouteKind.UNICAST, (NextHop(3, None),))
    state = settled(route(2))
    assert tell(state, Notice(route6)) == Changes(routes={Part.ROUTES6})
    assert len(state.routes[Part.ROUTES4]) == len(state.routes[Part.ROUTES6]) == 1


EVENTS = st.lists(st.tuples(st.integers(2, 4), st.sampled_from(["add", "replace", "remove"])))


@given(EVENTS, st.data())
def test_notices_older_than_a_dump_do_no_harm(
    events: list[tuple[int, str]], data: st.DataObject
) -> None:
    """As in a resync: the dump shows the end of the story, then the story is told again."""
    kernel: list[Route] = []  # `ip route append`, `replace` and `del` of one destination
    notices = []
    for gateway, what in events:
        about = route(gateway)
        if what == "add" and about not in kernel:
            kernel.append(about)
            notices.append(Notice(about))
        elif what == "replace" and about not in kernel[1:]:
            kernel[:1] = [about]
            notices.append(Notice(about, replaces=True))
        elif what == "remove" and about in kernel:
            kernel.remove(about)
            notices.append(Notice(about, gone=True))
    late = data.draw(st.integers(0, len(notices)))
    state = settled(*kernel)
    tell(state, *notices[late:])
    if not state.doubtful:
        assert first_routes(state) == kernel[:1]
