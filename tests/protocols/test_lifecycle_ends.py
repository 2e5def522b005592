"""Moves, ends and second beginnings of a client's life."""

from __future__ import annotations

import dataclasses
from typing import Final

from dstmrouter.protocols.clientaction import Abandon, Ask, Clear, Discover, Release, Tell
from dstmrouter.protocols.clientstate import State
from tests.protocols.client_world import World
from tests.protocols.leases import AWAY6, FIRST4, HOME6, lease

START: Final = 1000.0  # when a World begins


def test_a_move_asks_again_from_the_new_address_with_the_old_wish() -> None:
    world = World()
    world.bound(lease())
    world.life.client6_changed(world.now)
    assert [type(action) for action in world.take()] == [Clear, Tell]
    assert (world.life.state, world.told[-1]) == (State.MOVED, "moved")
    world.clear()
    assert world.at(world.now) == [Discover()]
    world.life.found(2, AWAY6, world.now)
    (ask,) = world.take()
    assert isinstance(ask, Ask)
    assert (ask.client6, ask.hint4) == (AWAY6, FIRST4)


def test_a_move_while_asking_begins_anew() -> None:
    world = World()
    world.start()
    world.life.client6_changed(world.now)
    assert world.take() == [Abandon()]
    assert world.at(world.now) == [Discover()]


def test_release_gives_back_what_is_no_longer_used() -> None:
    world = World()
    world.bound(lease())
    world.life.unwant()
    assert [type(action) for action in world.take()] == [Clear, Tell, Release]
    world.clear()
    assert world.state() is State.RELEASING
    world.life.released(world.now)
    assert (world.life.state, world.life.next_timer()) == (State.INIT, None)
    assert world.told == ["bound", "released"]


def test_wanted_again_while_releasing() -> None:
    world = World()
    world.bound(lease())
    world.life.unwant()
    world.take()
    world.life.want(world.now)
    world.clear()
    world.life.released(world.now)
    assert world.at(world.now) == [Discover()]


def test_unwanted_while_looking_or_asking() -> None:
    world = World()
    world.life.want(world.now)
    world.take()
    world.life.unwant()
    assert world.take() == [Abandon()]
    world.life.found(2, HOME6, world.now)  # too late
    assert (world.life.state, world.take()) == (State.INIT, [])
    world.start()
    world.life.unwant()
    assert world.take() == [Abandon()]
    assert (world.life.state, world.life.next_timer()) == (State.INIT, None)


def test_renewals_may_change_other_terms() -> None:
    world = World()
    world.bound(lease())
    world.at(START + 500)
    world.grant(dataclasses.replace(lease(), mtu=1400))
    assert world.state() is State.VERIFY


def test_a_tunnel_that_cannot_be_made_gives_the_lease_back_for_a_while() -> None:
    world = World()
    world.start()
    world.grant(lease())
    world.life.impossible(world.now)
    assert [type(action) for action in world.take()] == [Clear, Release]
    world.clear()
    world.life.released(world.now)
    assert (world.state(), world.life.next_timer()) == (State.INIT, world.now + 120)
    world.life.client6_changed(world.now)  # the network is another: perhaps now
    assert world.at(world.now) == [Discover()]
