from __future__ import annotations

from typing import Final

import pytest

from dstmrouter.protocols.clientaction import (
    Abandon,
    Ask,
    Clear,
    Discover,
    Reason,
    SetUp,
    Tell,
    Verify,
)
from dstmrouter.protocols.clientstate import State
from tests.protocols.client_world import World
from tests.protocols.leases import AWAY6, FIRST4, HOME6, OTHER4, lease

START: Final = 1000.0  # when a World begins


def test_from_nothing_to_bound() -> None:
    world = World(hint4=OTHER4)
    ask = world.start()
    assert ask == Ask(serial=1, server=0, client6=HOME6, hint4=OTHER4, renew=None)
    world.grant(lease())
    assert world.state() is State.VERIFY
    world.verify()
    assert world.state() is State.BOUND
    assert world.done == [Discover(), ask, SetUp(lease()), Verify(), Tell(lease())]


def test_the_term_counts_from_the_request() -> None:
    world = World()
    world.start()
    world.now += 100  # the answer took long
    world.grant(lease(lifetime_s=1000))
    world.verify()
    assert world.life.term is not None
    assert world.life.term.expires_at == START + 1000
    assert world.life.next_timer() == START + 500


@pytest.mark.parametrize(
    "useless", [lease(lifetime_s=0), lease(lifetime_s=99), lease(client6=AWAY6)]
)
def test_a_lease_over_before_it_came_or_for_somebody_else_is_no_lease(useless: object) -> None:
    world = World(servers=1)
    world.start()
    world.now += 100
    world.grant(useless)  # type: ignore[arg-type]
    assert world.state() is State.INIT
    assert world.tunnel is None
    assert world.life.next_timer() == world.now + 1


def test_servers_are_asked_in_turn_and_then_after_a_delay_that_grows() -> None:
    world = World(servers=2)
    assert world.start().server == 0
    for delay in (1, 2, 4, 8, 16, 32, 64, 120, 120):
        world.refuse()
        assert world.ask is not None
        assert world.ask.server == 1
        world.refuse()
        assert world.state() is State.INIT
        assert world.life.next_timer() == world.now + delay
        assert world.at(world.now + delay) == [Discover()]
        world.life.found(2, HOME6, world.now)
        world.take()


def test_no_server_is_looked_for_again() -> None:
    world = World()
    world.life.want(world.now)
    world.take()
    world.life.no_server(world.now)
    assert world.life.next_timer() == world.now + 1
    assert world.at(world.now + 1) == [Discover()]


def test_a_plain_no_of_all_servers_is_not_repeated_soon() -> None:
    world = World(servers=1)
    world.start()
    world.refuse(final=True)
    assert world.life.next_timer() == world.now + 120


def test_a_servers_wish_is_kept() -> None:
    world = World(servers=1)
    world.start()
    world.refuse(retry_after_s=30)
    assert world.life.next_timer() == world.now + 30


def test_renewal_asks_the_same_server_with_the_lease() -> None:
    world = World(servers=2)
    world.start()
    world.refuse()
    world.grant(lease())
    world.verify()
    assert world.at(START + 499.9) == []
    (ask,) = world.at(START + 500)
    assert (world.life.state, ask) == (
        State.RENEWING,
        Ask(serial=3, server=1, client6=HOME6, hint4=FIRST4, renew=lease()),
    )
    world.now += 10
    world.grant(lease())
    assert world.state() is State.BOUND
    assert world.told == ["bound", "renewed"]
    assert world.life.next_timer() == START + 500 + 500
    assert world.done.count(SetUp(lease())) == 1


def test_retries_before_t2_then_any_server_then_the_end() -> None:
    world = World(servers=2)
    world.bound(lease(lifetime_s=1000))
    asked = []
    while world.state() is not State.EXPIRED:
        due = world.life.next_timer()
        assert due is not None
        done = [action for action in world.at(due) if isinstance(action, Ask)]
        asked += [(due - START, world.life.state.name, ask.server) for ask in done]
        if world.ask is not None:
            world.refuse()
    assert asked == [
        (500, "RENEWING", 0),
        (687.5, "RENEWING", 0),
        (781.25, "RENEWING", 0),
        (841.25, "RENEWING", 0),
        (875, "REBINDING", 0),
        (937.5, "REBINDING", 1),
        (997.5, "REBINDING", 0),
    ]
    assert world.now == START + 1000
    assert world.tunnel is None
    assert world.told == ["bound", "expired"]


def test_a_denied_lease_runs_to_its_end() -> None:
    world = World(servers=1)
    world.bound(lease(lifetime_s=1000))
    world.at(START + 500)
    world.refuse(final=True)
    assert world.life.next_timer() == START + 875
    world.at(START + 875)
    world.refuse(final=True)
    assert world.life.next_timer() == START + 1000
    assert world.at(START + 1000) == [Clear(), Tell(lease(), ended=Reason.EXPIRED)]


def test_expiry_while_an_answer_is_awaited() -> None:
    world = World(servers=1)
    world.bound(lease(lifetime_s=1000))
    world.at(START + 500)
    assert world.ask is not None
    serial = world.ask.serial
    done = world.at(START + 1000)
    assert [type(action) for action in done] == [Clear, Tell, Abandon]  # the address first
    world.life.granted(serial, lease(), world.now)  # too late
    assert world.take() == []
    world.clear()
    assert world.state() is State.INIT
    assert world.at(world.now) == [Discover()]


def test_another_address_replaces_the_tunnel() -> None:
    world = World()
    world.bound(lease())
    world.at(START + 500)
    world.grant(lease(OTHER4))
    assert (world.life.state, world.tunnel) == (State.VERIFY, lease(OTHER4))
    world.verify()
    assert world.told == ["bound", "replaced", "bound"]


def test_a_silent_gateway_is_asked_for_again_and_the_address_kept() -> None:
    world = World()
    world.bound(lease())
    world.life.silent(world.now)
    assert (world.life.state, world.tunnel) == (State.DEAD, lease())
    (ask,) = world.at(world.now + 1)
    assert isinstance(ask, Ask)
    assert (ask.server, ask.hint4, ask.renew) == (0, FIRST4, None)
    world.refuse()
    assert world.life.next_timer() == world.now + 2
    (ask,) = world.at(world.now + 2)
    assert isinstance(ask, Ask)
    assert ask.server == 1
    world.grant(lease())
    assert world.state() is State.VERIFY
    assert world.done.count(SetUp(lease())) == 2  # repaired, in case that was the reason
    world.verify()
    assert world.told == ["bound", "renewed"]


def test_a_gateway_that_is_down_does_not_make_its_server_suffer() -> None:
    world = World(servers=1)
    world.start()
    delays = []
    for _ in range(5):
        world.grant(lease(lifetime_s=86400))
        world.life.silent(world.now)
        due = world.life.next_timer()
        assert due is not None
        delays.append(due - world.now)
        world.at(due)
    assert delays == [1, 2, 4, 8, 16]


def test_a_gateway_that_comes_back() -> None:
    world = World()
    world.bound(lease())
    world.life.silent(world.now)
    world.at(world.now + 1)
    world.verify()
    assert (world.life.state, world.told) == (State.BOUND, ["bound"])
    world.refuse()  # the question that was under way
    assert (world.life.state, world.life.next_timer()) == (State.BOUND, START + 500)


def test_a_gateway_that_comes_back_at_once_costs_its_server_nothing() -> None:
    world = World()
    world.bound(lease())
    world.life.silent(world.now)
    world.verify()
    assert world.at(START + 499) == []
    assert world.life.next_timer() == START + 500
