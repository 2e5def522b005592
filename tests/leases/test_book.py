from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import LeaseError
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.lease import IDENTITY_LIMIT, LeaseRequest
from dstmrouter.leases.pool import AddressSpace
from dstmrouter.leases.state import State
from tests.leases.lending import FIRST, TEP6, TERMS, book_of, client, pool, wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.leases.lease import Lease

T0 = 1000.0


def everything(book: LeaseBook) -> list[Lease]:
    return [book.table.get(slot) for slot in range(book.space.capacity)]


def free_again(book: LeaseBook, lease: Lease, now: float) -> float:
    """Take a lease all the way to FREE; return when it was."""
    book.release(lease.ipv4)
    book.removed(lease.ipv4, lease.lease_id, now)
    now += TERMS.quarantine_s
    book.expire(now)
    return now


def test_clients_get_different_addresses_in_order() -> None:
    book = book_of(3)
    leases = [book.grant(wish(n), T0) for n in (1, 2, 3)]
    assert [lease.ipv4 for lease in leases] == [FIRST, FIRST + 1, FIRST + 2]
    assert all(lease.state is State.ACTIVE for lease in leases)
    assert {lease.until for lease in leases} == {T0 + TERMS.default_s}
    with pytest.raises(LeaseError, match="no address is free") as refusal:
        book.grant(wish(4), T0)
    assert refusal.value.reason == "no-address"


def test_asking_twice_extends_the_same_lease() -> None:
    book = book_of(3)
    first = book.grant(wish(1), T0)
    again = book.grant(wish(1, hint=2), T0 + 50)
    assert (again.lease_id, again.ipv4) == (first.lease_id, first.ipv4)
    assert again.until == T0 + 50 + TERMS.default_s


def test_the_end_of_a_lease_never_moves_back() -> None:
    book = book_of(1)
    lease = book.grant(LeaseRequest(client6=client(1), lifetime_s=900), T0)
    assert book.grant(wish(1), T0 + 1).until == lease.until
    assert book.renew(lease.ipv4, client(1), T0 + 2, lifetime_s=10).until == lease.until


def test_hint_is_followed_when_it_is_free() -> None:
    book = book_of(4)
    assert book.grant(wish(1, hint=2), T0).ipv4 == FIRST + 2
    assert book.grant(wish(2, hint=2), T0).ipv4 == FIRST
    outside = LeaseRequest(client6=client(3), hint=IPv4Address("198.51.100.1"))
    assert book.grant(outside, T0).ipv4 == FIRST + 1


def test_former_address_comes_before_hint_and_oldest() -> None:
    book = book_of(4)
    lease = book.grant(wish(1, hint=3), T0)
    now = free_again(book, lease, T0)
    assert book.grant(wish(1, hint=2), now).ipv4 == lease.ipv4


def test_the_longest_free_address_is_lent_first() -> None:
    book = book_of(3)
    now = T0
    for n in (1, 2, 3):
        now = free_again(book, book.grant(wish(n), now), now)
    assert [book.grant(wish(n), now).ipv4 for n in (11, 12, 13)] == [FIRST, FIRST + 1, FIRST + 2]


def test_the_second_pool_is_lent_from_when_the_first_is_empty() -> None:
    pools = [pool("198.51.100.1", "198.51.100.1"), pool("192.0.2.1", "192.0.2.2", name="b")]
    book = LeaseBook(AddressSpace(pools), TERMS)
    got = [str(book.grant(wish(n), T0).ipv4) for n in (1, 2, 3)]
    assert got == ["198.51.100.1", "192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize(
    "address",
    ["fe80::1", "ff02::1", "::", "::1", "::ffff:192.0.2.9", "2001:db8::1%eth0", str(TEP6)],
)
def test_client_that_cannot_be_a_tunnel_end_is_refused(address: str) -> None:
    book = book_of(2)
    before = everything(book)
    with pytest.raises(LeaseError) as refusal:
        book.grant(LeaseRequest(client6=IPv6Address(address)), T0)
    assert refusal.value.reason == "bad-client6"
    assert everything(book) == before


def test_identity_has_a_limit() -> None:
    book = book_of(1)
    with pytest.raises(LeaseError, match="at most 255"):
        book.grant(wish(1, identity="x" * (IDENTITY_LIMIT + 1)), T0)
    assert book.grant(wish(1, identity="x" * IDENTITY_LIMIT), T0).identity == "x" * IDENTITY_LIMIT


def test_lease_of_another_identity_is_not_touched() -> None:
    book = book_of(3)
    lease = book.grant(wish(1, identity="ann"), T0)
    before = everything(book)
    with pytest.raises(LeaseError) as refusal:
        book.grant(wish(1, identity="bob"), T0 + 1)
    assert refusal.value.reason == "not-yours"
    book.release(lease.ipv4)
    with pytest.raises(LeaseError) as refusal:
        book.grant(wish(1, identity="bob"), T0 + 1)
    assert refusal.value.reason == "try-again"
    assert everything(book)[1:] == before[1:]
    book.removed(lease.ipv4, lease.lease_id, T0 + 2)
    assert book.grant(wish(1, identity="bob"), T0 + 3).ipv4 != lease.ipv4


@pytest.mark.parametrize("acked", [False, True])
def test_former_holder_may_return_before_the_address_is_free(acked: bool) -> None:
    book = book_of(2)
    lease = book.grant(wish(1), T0)
    book.release(lease.ipv4, client(1))
    if acked:
        book.removed(lease.ipv4, lease.lease_id, T0)
    again = book.grant(wish(1), T0 + 1)
    assert again.ipv4 == lease.ipv4
    assert again.lease_id > lease.lease_id
    assert book.removed(lease.ipv4, lease.lease_id, T0 + 2) is None
    assert book.is_current(again)
    assert not book.is_current(lease)


def test_end_of_a_lease_takes_every_step_in_its_time() -> None:
    book = book_of(1)
    lease = book.grant(wish(1), T0)
    steps = []
    while (timer := book.next_timer()) is not None:
        assert book.expire(timer - 0.001) == []
        steps += [(changed.state, changed.until) for changed in book.expire(timer)]
    gone = lease.until + TERMS.grace_s
    free = gone + TERMS.quarantine_s
    assert steps == [(State.REMOVING, gone), (State.QUARANTINE, free), (State.FREE, free)]


def test_acknowledged_removal_starts_the_quarantine_at_once() -> None:
    book = book_of(1)
    lease = book.grant(wish(1), T0)
    assert book.release(lease.ipv4).until == lease.until + TERMS.grace_s
    resting = book.removed(lease.ipv4, lease.lease_id, T0 + 1)
    assert resting is not None
    assert (resting.state, resting.until) == (State.QUARANTINE, T0 + 1 + TERMS.quarantine_s)
    with pytest.raises(LeaseError, match="no address"):
        book.grant(wish(2), resting.until - 0.001)
    book.expire(resting.until)
    assert book.grant(wish(2), resting.until).ipv4 == lease.ipv4


def test_offer_must_be_taken_in_time() -> None:
    book = book_of(2)
    offer = book.offer(wish(1), T0)
    assert (offer.state, offer.until) == (State.OFFERED, T0 + TERMS.offer_s)
    with pytest.raises(LeaseError, match="offered, not lent"):
        book.renew(offer.ipv4, client(1), T0, lifetime_s=None)
    taken = book.grant(wish(1), T0 + 1)
    assert (taken.lease_id, taken.state) == (offer.lease_id, State.ACTIVE)
    other = book.offer(wish(2), T0)
    (ended,) = book.expire(T0 + TERMS.offer_s)
    assert (ended.lease_id, ended.state) == (other.lease_id, State.REMOVING)


REFUSED: dict[str, tuple[Callable[[LeaseBook], object], str]] = {
    "renew of a free address": (
        lambda book: book.renew(FIRST + 1, client(1), T0, lifetime_s=None),
        "no-lease",
    ),
    "renew by another client": (
        lambda book: book.renew(FIRST, client(2), T0, lifetime_s=None),
        "not-yours",
    ),
    "release by another client": (lambda book: book.release(FIRST, client(2)), "not-yours"),
    "release of a free address": (lambda book: book.release(FIRST + 1), "no-lease"),
    "release outside": (lambda book: book.release(IPv4Address("10.0.0.1")), "no-lease"),
    "unknown number": (lambda book: book.find(99), "no-lease"),
    "unhold": (lambda book: book.unhold(FIRST), "not-held"),
    "hold twice": (lambda book: book.hold(FIRST + 2), "held"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_changes_nothing(name: str) -> None:
    book = book_of(3)
    book.grant(wish(1), T0)
    book.hold(FIRST + 2)
    before = everything(book)
    act, reason = REFUSED[name]
    with pytest.raises(LeaseError) as refusal:
        act(book)
    assert refusal.value.reason == reason
    assert everything(book) == before


def test_held_address_is_nobodys_until_it_was_removed_again() -> None:
    book = book_of(2)
    lease = book.grant(wish(1), T0)
    assert book.hold(lease.ipv4).state is State.HELD
    assert book.grant(wish(1), T0).ipv4 != lease.ipv4
    assert book.expire(T0 + 1e6) != []
    assert book.table.get(0).state is State.HELD
    assert book.unhold(lease.ipv4).state is State.REMOVING


def test_find_and_lease_of_know_only_what_is_in_force() -> None:
    book = book_of(2)
    lease = book.grant(wish(1), T0)
    assert book.find(lease.lease_id) == lease
    assert book.lease_of(client(1)) == lease
    assert book.lease_of(client(2)) is None
    book.release(lease.ipv4)
    assert book.lease_of(client(1)) is None
    with pytest.raises(LeaseError, match="no lease has the number 1"):
        book.find(lease.lease_id)


def test_expiry_of_many_goes_in_turns() -> None:
    book = book_of(5)
    for n in range(5):
        book.grant(wish(n), T0)
    end = T0 + TERMS.default_s
    assert [len(book.expire(end, limit=2)) for _ in range(4)] == [2, 2, 1, 0]
    assert book.next_timer() == end + TERMS.grace_s
