from __future__ import annotations

from ipaddress import IPv6Address
from typing import TypeAlias

import numpy as np
import pytest

from dstmrouter.daemon.hopbook import CONFIRM_S, RETRY_S, SPREAD_S, HopBook
from dstmrouter.pipeline.hops import FIXED_HOPS, NO_MAC, UNREACHABLE_HOP, HopState, HopTable
from dstmrouter.pipeline.quiescence import Turns

Key: TypeAlias = tuple[int, IPv6Address]
CAPACITY = FIXED_HOPS + 3
MAC = bytes.fromhex("020000000001")


class Book:
    """A book whose neighbours are what the test says, with one worker."""

    def __init__(self) -> None:
        self.known: dict[Key, tuple[bytes, int, HopState]] = {}
        self.table = HopTable(np.zeros(CAPACITY, np.uint64))
        self.table.lay_out()
        self.turns = Turns(bytearray(Turns.size(1)), 1)
        self.book = HopBook(self.table, self.turns, lambda key: self.known[key])  # type: ignore[index]  # IPv6 alone here

    def neighbour(self, number: int, state: HopState = HopState.UNRESOLVED) -> Key:
        key = 3, IPv6Address(number)
        mac = MAC if state is HopState.RESOLVED else NO_MAC
        self.known[key] = mac, 1, state
        return key

    def state(self, hop: int) -> HopState:
        return HopState(self.table.take(np.array([hop], np.uint32))["state"][0])

    def keep(self, *hops: int) -> int:
        used = np.zeros(CAPACITY, np.bool_)
        used[list(hops)] = True
        return self.book.release_all_but(used)


@pytest.fixture(name="b")
def book() -> Book:
    return Book()


def test_a_neighbour_keeps_its_hop_and_it_follows_the_neighbour(b: Book) -> None:
    key = b.neighbour(1)
    hop = b.book.hop_of(key, 0.0)
    assert hop >= FIXED_HOPS
    assert b.book.hop_of(key, 0.0) == hop
    assert b.state(hop) is HopState.UNRESOLVED
    b.neighbour(1, HopState.RESOLVED)
    b.book.refresh([key, (3, IPv6Address("::99"))], 0.0)  # the other has no hop
    assert b.state(hop) is HopState.RESOLVED
    assert b.table.take(np.array([hop], np.uint32))["mac"][0].tobytes() == MAC


def test_only_the_hops_of_the_links_named_are_published_again(b: Book) -> None:
    key = b.neighbour(1)
    hop = b.book.hop_of(key, 0.0)
    b.neighbour(1, HopState.UNREACHABLE)
    b.book.refresh_links({4}, 0.0)
    assert b.state(hop) is HopState.UNRESOLVED
    b.book.refresh_links({3}, 0.0)
    assert b.state(hop) is HopState.UNREACHABLE


def test_more_neighbours_than_hops_are_refused_and_counted(b: Book) -> None:
    hops = [b.book.hop_of(b.neighbour(n), 0.0) for n in range(5)]
    assert sorted(hops) == [UNREACHABLE_HOP, UNREACHABLE_HOP, *range(FIXED_HOPS, CAPACITY)]
    assert b.book.refused == 2
    assert not b.book.has_room()


def test_a_released_hop_leads_nowhere_and_is_used_again(b: Book) -> None:
    hops = [b.book.hop_of(b.neighbour(n), 0.0) for n in range(3)]
    assert b.keep(hops[0], hops[2]) == 1
    assert b.state(hops[1]) is HopState.UNREACHABLE
    assert b.book.hop_of(b.neighbour(7), 0.0) == hops[1]
    assert set(b.book.to_ask(0.0, 9)) == {b.neighbour(n) for n in (0, 2, 7)}


def test_a_released_hop_waits_for_workers_that_may_hold_it(b: Book) -> None:
    hops = [b.book.hop_of(b.neighbour(n), 0.0) for n in range(3)]
    b.turns.begin(0)
    b.keep(hops[0])
    assert not b.book.has_room()
    assert b.book.hop_of(b.neighbour(7), 0.0) == UNREACHABLE_HOP
    b.turns.end(0)
    assert b.book.has_room()
    assert b.book.hop_of(b.neighbour(7), 0.0) in hops[1:]


def test_unresolved_neighbours_are_asked_for_every_second(b: Book) -> None:
    key = b.neighbour(1)
    b.book.hop_of(key, 10.0)
    assert b.book.to_ask(10.0, 9) == [key]
    assert b.book.to_ask(10.0 + RETRY_S / 2, 9) == []
    b.book.refresh([key], 10.5)  # the kernel says: still nothing
    assert b.book.to_ask(10.6, 9) == []
    assert b.book.to_ask(10.0 + RETRY_S, 9) == [key]


def test_resolved_neighbours_are_confirmed_now_and_then(b: Book) -> None:
    key = b.neighbour(1, HopState.RESOLVED)
    b.book.hop_of(key, 0.0)
    assert b.book.to_ask(CONFIRM_S - 1, 9) == []
    assert b.book.to_ask(CONFIRM_S + SPREAD_S, 9) == [key]
    b.neighbour(1)
    b.book.refresh([key], 30.0)  # lost
    assert b.book.to_ask(30.0, 9) == [key]
    b.neighbour(1, HopState.UNREACHABLE)  # its link went down
    b.book.refresh([key], 31.0)
    assert b.book.to_ask(1e9, 9) == []


def test_who_has_waited_longest_is_asked_for_first(b: Book) -> None:
    keys = [b.neighbour(n) for n in range(3)]
    for key, since in zip(keys, (3.0, 1.0, 2.0), strict=True):
        b.book.hop_of(key, since)
    assert b.book.to_ask(3.0, 2) == [keys[1], keys[2]]
    assert b.book.to_ask(3.0, 2) == [keys[0]]
