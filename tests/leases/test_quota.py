from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import LeaseError
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.lease import LeaseRequest
from dstmrouter.leases.pool import AddressSpace
from dstmrouter.leases.quota import Holdings, Quotas
from dstmrouter.leases.state import State
from tests.leases.lending import FIRST, TERMS, pool, stored

if TYPE_CHECKING:
    from collections.abc import Callable

T0 = 1000.0


def limited(addresses: int = 8, **limits: int) -> LeaseBook:
    space = AddressSpace([pool("192.0.2.0", str(FIRST + addresses - 1))])
    return LeaseBook(space, TERMS, quotas=Quotas(**limits))


def wish(client6: str, identity: str = "", hint: int | None = None) -> LeaseRequest:
    ipv4 = None if hint is None else FIRST + hint
    return LeaseRequest(client6=IPv6Address(client6), identity=identity, hint=ipv4)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(LeaseError) as refused:
        act()
    return refused.value.reason


@pytest.mark.parametrize(
    ("limits", "same", "other", "reason"),
    [
        ({"per_64": 2}, "2001:db8:0:1:{}::1", "2001:db8:0:2::1", "quota-64"),
        ({"per_48": 2}, "2001:db8:0:{}::1", "2001:db8:1::1", "quota-48"),
    ],
)
def test_network_has_a_limit(limits: dict[str, int], same: str, other: str, reason: str) -> None:
    book = limited(**limits)
    leases = [book.grant(wish(same.format(n)), T0) for n in (1, 2)]
    assert refusal(lambda: book.grant(wish(same.format(3)), T0)) == reason
    assert refusal(lambda: book.offer(wish(same.format(3)), T0)) == reason
    book.grant(wish(same.format(1)), T0)  # asking twice is not a second lease
    book.grant(wish(other), T0)
    book.release(leases[0].ipv4)
    book.grant(wish(same.format(3)), T0)
    assert refusal(lambda: book.grant(wish(same.format(1)), T0)) == reason  # nor is coming back


def test_identity_has_a_limit_and_nobody_has_none() -> None:
    book = limited(per_identity=2)
    for n in (1, 2):
        book.grant(wish(f"2001:db8::{n}", "ann"), T0)
        book.grant(wish(f"2001:db8::1:{n}"), T0)
    assert refusal(lambda: book.grant(wish("2001:db8::3", "ann"), T0)) == "quota-identity"
    book.grant(wish("2001:db8::3", "bob"), T0)
    book.grant(wish("2001:db8::1:3"), T0)


def test_refusal_changes_nothing() -> None:
    book = limited(per_64=1)
    book.grant(wish("2001:db8::1"), T0)
    counted = book._holdings.counted()
    before = [book.table.get(slot) for slot in range(8)]
    assert refusal(lambda: book.grant(wish("2001:db8::2"), T0)) == "quota-64"
    assert [book.table.get(slot) for slot in range(8)] == before
    assert book._holdings.counted() == counted


def test_counts_of_a_loaded_table_are_those_that_were_kept() -> None:
    limits = {"per_identity": 9, "per_64": 9, "per_48": 9}
    book = limited(**limits)
    for n in range(6):
        book.grant(wish(f"2001:db8:{n % 2}:{n % 3}::{n}", "ann" * (n % 2)), T0)
    book.release(FIRST)
    after = limited(**limits)
    after.restore(stored(book))
    assert after._holdings.counted() == book._holdings.counted()
    identities, by_64, by_48 = after._holdings.counted()
    assert identities == {"ann": 3}
    assert sorted(by_64.values()) == [1, 1, 1, 1, 1]
    assert sorted(by_48.values()) == [2, 3]


def test_nothing_is_counted_without_a_limit() -> None:
    assert not Holdings(Quotas()).counting
    book = limited()
    book.grant(wish("2001:db8::1", "ann"), T0)
    assert book._holdings.counted() == [{}]


def test_a_client_that_moves_takes_its_only_lease_along() -> None:
    book = limited(per_identity=1, per_64=1)
    lease = book.grant(wish("2001:db8::1", "ann"), T0)
    moved = book.grant(wish("2001:db8:0:1::1", "ann"), T0 + 10)
    assert (moved.ipv4, moved.lease_id) == (lease.ipv4, lease.lease_id)
    assert moved.client6 == IPv6Address("2001:db8:0:1::1")
    assert moved.until == T0 + 10 + TERMS.default_s
    assert book.lease_of(lease.client6) is None
    assert book.lease_of(moved.client6) == moved
    assert not book.is_current(lease)
    assert book.is_current(moved)
    book.grant(wish("2001:db8::2"), T0)  # the /64 it left has room
    assert refusal(lambda: book.grant(wish("2001:db8:0:1::2"), T0)) == "quota-64"


def test_a_move_into_a_full_network_is_refused() -> None:
    book = limited(per_identity=1, per_64=1)
    book.grant(wish("2001:db8::1", "ann"), T0)
    book.grant(wish("2001:db8:0:1::1"), T0)
    assert refusal(lambda: book.grant(wish("2001:db8:0:1::2", "ann"), T0)) == "quota-64"


def test_a_hint_says_which_of_several_leases_moves() -> None:
    book = limited()
    for n in (1, 2):
        book.grant(wish(f"2001:db8::{n}", "ann"), T0)
    moved = book.grant(wish("2001:db8::3", "ann", hint=1), T0)
    assert int(moved.ipv4) == int(FIRST) + 1
    assert book.lease_of(IPv6Address("2001:db8::2")) is None
    another = book.grant(wish("2001:db8::4", "ann"), T0)
    assert int(another.ipv4) == int(FIRST) + 2


@pytest.mark.parametrize("identity", ["", "bob"])
def test_nobody_moves_the_lease_of_another(identity: str) -> None:
    book = limited(per_identity=1)
    lease = book.grant(wish("2001:db8::1", "ann"), T0)
    other = book.grant(wish("2001:db8::2", identity, hint=0), T0)
    assert other.ipv4 != lease.ipv4
    assert book.is_current(lease)


def test_an_unauthenticated_lease_does_not_move() -> None:
    book = limited()
    lease = book.grant(wish("2001:db8::1"), T0)
    assert book.grant(wish("2001:db8::2", hint=0), T0).ipv4 != lease.ipv4


def test_an_address_that_rests_moves_with_its_identity_as_a_new_lease() -> None:
    book = limited()
    lease = book.grant(wish("2001:db8::1", "ann"), T0)
    assert book.release(lease.ipv4).state is State.REMOVING
    moved = book.grant(wish("2001:db8::2", "ann", hint=0), T0)
    assert moved.ipv4 == lease.ipv4
    assert moved.lease_id > lease.lease_id


def test_a_client_whose_own_address_is_being_removed_cannot_take_another_along() -> None:
    book = limited()
    book.grant(wish("2001:db8::1", "ann"), T0)
    own = book.grant(wish("2001:db8::2", "ann"), T0)
    book.release(own.ipv4)
    assert refusal(lambda: book.grant(wish("2001:db8::2", "ann", hint=0), T0)) == "try-again"
    book.removed(own.ipv4, own.lease_id, T0)
    assert int(book.grant(wish("2001:db8::2", "ann", hint=0), T0).ipv4) == int(FIRST)


def test_extended_by_names_what_a_grant_would_extend() -> None:
    book = limited()
    lease = book.grant(wish("2001:db8::1", "ann"), T0)
    assert book.extended_by(wish("2001:db8::1", "ann")) == lease
    assert book.extended_by(wish("2001:db8::2", "ann", hint=0)) == lease
    assert book.extended_by(wish("2001:db8::2", "ann")) is None
    book.release(lease.ipv4)
    assert book.extended_by(wish("2001:db8::1", "ann")) is None
