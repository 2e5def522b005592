from __future__ import annotations

from ipaddress import IPv4Address

from dstmrouter.daemon.gleaning import AGAIN_S, LIMIT, Gleaning


def key(number: int) -> tuple[int, IPv4Address]:
    return 3, IPv4Address(number)


def test_asked_for_once_a_second_in_order() -> None:
    gleaning = Gleaning()
    for number in (5, 1, 5, 3):
        gleaning.want(key(number))
    assert gleaning.to_ask(0.0, 2) == [key(5), key(1)]
    gleaning.want(key(5))
    assert gleaning.to_ask(0.1, 9) == [key(3)]
    assert gleaning.to_ask(AGAIN_S, 9) == []  # forgets 5 and 1
    gleaning.want(key(5))
    gleaning.want(key(3))
    assert gleaning.to_ask(AGAIN_S, 9) == [key(5)]


def test_a_scan_is_bounded_and_counted() -> None:
    gleaning = Gleaning()
    for number in range(LIMIT + 10):
        gleaning.want(key(number))
    assert gleaning.refused == 10
    assert len(gleaning.to_ask(0.0, 2 * LIMIT)) == LIMIT
    gleaning.want(key(LIMIT + 50))
    assert gleaning.refused == 11
    assert gleaning.to_ask(AGAIN_S, 9) == []
    gleaning.want(key(LIMIT + 50))
    assert gleaning.to_ask(AGAIN_S, 9) == [key(LIMIT + 50)]


def test_link_that_changed_is_asked_on_at_once() -> None:
    gleaning = Gleaning()
    elsewhere = (4, IPv4Address(5))
    for wanted in (key(5), elsewhere):
        gleaning.want(wanted)
    assert gleaning.to_ask(0.0, 9) == [key(5), elsewhere]
    gleaning.forget({3})
    for wanted in (key(5), elsewhere):
        gleaning.want(wanted)
    assert gleaning.to_ask(0.1, 9) == [key(5)]
