from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from dstmrouter.errors import ConfigError
from dstmrouter.leases.pool import AddressSpace
from dstmrouter.leases.reservation import Reservation, Reservations
from tests.leases.lending import FIRST, client, pool, wish

SPACE = AddressSpace([pool("192.0.2.0", "192.0.2.9")])


def reservation(place: int, number: int | None = None, identity: str = "") -> Reservation:
    client6 = None if number is None else client(number)
    return Reservation(ipv4=FIRST + place, client6=client6, identity=identity)


def test_the_most_exact_reservation_counts() -> None:
    reservations = Reservations(
        [reservation(1, 7), reservation(2, None, "ann"), reservation(3, 7, "ann")], SPACE
    )
    assert reservations.slot_for(wish(7, identity="ann")) == 3
    assert reservations.slot_for(wish(7, identity="bob")) == 1
    assert reservations.slot_for(wish(8, identity="ann")) == 2
    assert reservations.slot_for(wish(8, identity="bob")) is None
    assert reservations.slot_for(wish(8)) is None
    assert sorted(reservations.slots) == [1, 2, 3]


def test_reserved_addresses_are_kept_from_others() -> None:
    reservations = Reservations([reservation(1, 7), reservation(2, None, "ann")], SPACE)
    assert not reservations.keep_from(1, client(7), "whoever")
    assert reservations.keep_from(1, client(8), "")
    assert not reservations.keep_from(2, client(8), "ann")
    assert reservations.keep_from(2, client(8), "")
    assert not reservations.keep_from(3, client(8), "")
    assert 1 in reservations
    assert 3 not in reservations


@pytest.mark.parametrize(
    ("reservations", "expected"),
    [
        ([reservation(100, 7)], r"192\.0\.2\.100: the address is in no pool"),
        ([Reservation(ipv4=IPv4Address("192.0.2.1"))], r"192\.0\.2\.1: for nobody"),
        ([reservation(1, 7), reservation(1, 8)], "occurs twice"),
        ([reservation(1, 7), reservation(2, 7)], "occurs twice"),
    ],
)
def test_reservations_that_do_not_fit(reservations: list[Reservation], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Reservations(reservations, SPACE)
