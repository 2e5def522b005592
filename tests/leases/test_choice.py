from __future__ import annotations

import dataclasses
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import ConfigError, LeaseError
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.reservation import Reservation
from dstmrouter.leases.selector import Selector
from dstmrouter.leases.sharing import Sharing
from tests.leases.lending import FIRST, TERMS, client, pool, stored, wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.leases.lease import Lease, LeaseRequest

T0 = 1000.0
ANN = Reservation(ipv4=FIRST + 1, identity="ann")
SEVEN = Reservation(ipv4=FIRST + 2, client6=client(7))


def reserving(*reservations: Reservation, addresses: int = 4) -> LeaseBook:
    space = AddressSpace([pool("192.0.2.0", str(FIRST + addresses - 1))])
    return LeaseBook(space, TERMS, reservations=reservations)


def pools(*changes: dict[str, object]) -> LeaseBook:
    """A book of pools of two addresses each, 192.0.2.0 on, then 192.0.2.16 on, and so on."""
    made: list[Pool] = []
    for number, change in enumerate(changes):
        first = FIRST + 16 * number
        made.append(
            dataclasses.replace(pool(str(first), str(first + 1), str(number)), **change)  # type: ignore[arg-type]
        )
    return LeaseBook(AddressSpace(made), TERMS)


def place(book: LeaseBook, request: LeaseRequest) -> int:
    return int(book.grant(request, T0).ipv4) - int(FIRST)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(LeaseError) as refused:
        act()
    return refused.value.reason


def rested(book: LeaseBook, lease: Lease) -> None:
    """Let an ended lease's address become free."""
    book.removed(lease.ipv4, lease.lease_id, T0)
    book.expire(T0 + TERMS.quarantine_s)


def test_reserved_addresses_are_for_their_owners_alone() -> None:
    book = reserving(ANN, SEVEN)
    assert [place(book, wish(n)) for n in (1, 2)] == [0, 3]
    assert refusal(lambda: book.grant(wish(3, hint=1), T0)) == "no-address"
    assert place(book, wish(4, identity="ann")) == 1
    assert place(book, wish(7)) == 2


def test_a_reserved_address_stays_its_owners_after_its_lease() -> None:
    book = reserving(ANN, addresses=2)
    lease = book.grant(wish(4, identity="ann"), T0)
    rested(book, book.release(lease.ipv4))
    assert place(book, wish(1)) == 0
    assert refusal(lambda: book.grant(wish(2), T0)) == "no-address"
    assert refusal(lambda: book.grant(wish(4), T0)) == "no-address"
    assert place(book, wish(5, identity="ann")) == 1


def test_a_second_client_of_a_reserved_identity_gets_another_address() -> None:
    book = reserving(ANN)
    assert [place(book, wish(n, identity="ann")) for n in (1, 2)] == [1, 0]


def test_an_address_reserved_since_is_not_extended_and_not_given_back() -> None:
    before = reserving()
    former = before.grant(wish(1, hint=1), T0)
    book = reserving(ANN)
    book.restore(stored(before))
    assert book.lease_of(client(1)) == former
    assert refusal(lambda: book.grant(wish(1), T0)) == "reserved"
    renewal = lambda: book.renew(former.ipv4, client(1), T0, lifetime_s=None)  # noqa: E731
    assert refusal(renewal) == "reserved"
    assert refusal(lambda: book.grant(wish(2, identity="ann"), T0)) == "try-again"
    rested(book, book.release(former.ipv4))
    assert place(book, wish(1)) == 0
    assert place(book, wish(2, identity="ann")) == 1


def test_a_lease_in_force_is_kept_though_another_address_is_reserved_since() -> None:
    before = reserving()
    before.grant(wish(7, hint=3), T0)
    book = reserving(SEVEN)
    book.restore(stored(before))
    assert place(book, wish(7)) == 3


def test_pools_are_used_by_those_they_are_for_in_order() -> None:
    staff = Selector(["*.staff"])
    lab = Selector(client_prefixes=[IPv6Network("2001:db8::100/120")])
    book = pools({"selector": staff}, {"selector": lab}, {})
    assert place(book, wish(1)) == 32
    assert place(book, wish(2, identity="ann.staff")) == 0
    assert place(book, wish(0x101)) == 16
    assert [place(book, wish(n, identity="bob.staff")) for n in (3, 0x102)] == [1, 17]
    assert place(book, wish(5, hint=17)) == 33
    assert refusal(lambda: book.grant(wish(6, identity="x"), T0)) == "no-address"


def test_no_pool_for_a_client_is_a_reason_of_its_own() -> None:
    book = pools({"selector": Selector(["ann"])})
    assert refusal(lambda: book.grant(wish(1), T0)) == "no-pool"
    assert place(book, wish(1, identity="ann")) == 0


def test_a_former_address_comes_back_only_from_a_pool_that_still_fits() -> None:
    before = pools({}, {})
    book = pools({"selector": Selector(["ann"])}, {})
    lease = before.grant(wish(1), T0)
    rested(before, before.release(lease.ipv4))
    book.restore(stored(before))
    assert place(book, wish(1)) == 16


def test_a_lease_moves_only_to_where_its_pool_is_for() -> None:
    lab = Selector(client_prefixes=[IPv6Network("2001:db8::100/120")])
    book = pools({"selector": lab}, {})
    lease = book.grant(wish(0x101, identity="ann"), T0)
    assert place(book, wish(1, hint=0, identity="ann")) == 16
    assert book.is_current(lease)
    assert place(book, wish(0x102, hint=0, identity="ann")) == 0
    assert not book.is_current(lease)


def test_the_last_addresses_are_for_known_clients() -> None:
    book = pools({"reserve": 0.5})
    lease = book.grant(wish(1), T0)
    assert refusal(lambda: book.grant(wish(2), T0)) == "no-address"
    assert refusal(lambda: book.grant(wish(2, hint=1), T0)) == "no-address"
    rested(book, book.release(lease.ipv4))
    assert place(book, wish(2, identity="ann")) == 1
    assert refusal(lambda: book.grant(wish(3), T0)) == "no-address"
    assert place(book, wish(1)) == 0


def test_a_pool_with_a_reserve_leaves_strangers_to_the_next() -> None:
    book = pools({"reserve": 1.0}, {})
    assert place(book, wish(1)) == 16
    assert place(book, wish(2, identity="ann")) == 0


def test_used_percent_leaves_reservations_aside() -> None:
    book = reserving(ANN, SEVEN)
    assert book.used_percent() == [0.0]
    book.grant(wish(7), T0)
    assert book.used_percent() == [0.0]
    lease = book.grant(wish(1), T0)
    book.release(lease.ipv4)
    assert book.used_percent() == [50.0]
    everything = LeaseBook(
        AddressSpace([pool("192.0.2.1", "192.0.2.1")]), TERMS, reservations=[ANN]
    )
    assert everything.used_percent() == [0.0]


def sharing(request: LeaseRequest, psid: int | None = 0) -> LeaseRequest:
    return dataclasses.replace(request, takes_port_set=True, hint_psid=psid)


def test_port_sets_are_for_those_who_can_do_with_one() -> None:
    book = pools({"sharing": Sharing(6, 1)}, {})
    leases = [book.grant(sharing(wish(n)), T0) for n in range(1, 6)]
    assert [(int(lease.ipv4) - int(FIRST), lease.psid) for lease in leases] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (16, 0),
    ]
    assert [lease.port_set is None for lease in leases] == [False] * 4 + [True]
    assert place(book, wish(6)) == 17
    assert refusal(lambda: book.grant(wish(7), T0)) == "no-address"
    assert book.used_percent() == [100.0, 100.0]


def test_without_a_pool_of_whole_addresses_who_needs_one_gets_none() -> None:
    book = pools({"sharing": Sharing(6, 1)})
    assert refusal(lambda: book.grant(wish(1), T0)) == "no-pool"
    lease = book.grant(sharing(wish(1)), T0)
    assert refusal(lambda: book.grant(wish(1), T0)) == "port-set"
    rested(book, book.release(lease.ipv4, client(1)))
    assert refusal(lambda: book.grant(wish(1), T0)) == "no-pool"


def test_a_port_set_is_hinted_at_renewed_moved_and_released() -> None:
    book = pools({"sharing": Sharing(0, 6)})
    lease = book.grant(sharing(wish(1, hint=1, identity="ann"), 12), T0)
    assert (lease.ipv4, lease.psid) == (FIRST + 1, 12)
    other = book.grant(sharing(wish(2, hint=1), 12), T0)
    assert other.share == (FIRST, 1)  # PSID 0 has the system ports
    renewed = book.renew(lease.ipv4, client(1), T0 + 50, lifetime_s=None)
    assert (renewed.psid, renewed.until) == (12, T0 + 50 + TERMS.default_s)
    assert book.find(lease.lease_id).share == lease.share
    moved = book.grant(sharing(wish(3, hint=1, identity="ann"), 12), T0)
    assert (moved.share, moved.lease_id) == (lease.share, lease.lease_id)
    assert book.is_current(moved)
    assert refusal(lambda: book.release(lease.ipv4)) == "no-lease"  # which one?
    assert book.release(lease.ipv4, client(3)).share == lease.share
    resting = book.removed(lease.ipv4, lease.lease_id, T0, psid=12)
    assert resting is not None
    assert resting.port_set == lease.port_set


def test_a_port_set_can_be_reserved_and_held() -> None:
    space = AddressSpace([Pool.of("p", [(FIRST, FIRST)], sharing=Sharing(6, 1))])
    ann = Reservation(ipv4=FIRST, psid=1, identity="ann")
    book = LeaseBook(space, TERMS, reservations=[ann])
    assert book.grant(sharing(wish(1)), T0).psid == 0
    assert refusal(lambda: book.grant(sharing(wish(2)), T0)) == "no-address"
    assert refusal(lambda: book.grant(wish(3, identity="ann"), T0)) == "no-pool"
    assert book.grant(sharing(wish(3, identity="ann")), T0).psid == 1
    assert book.hold(FIRST, psid=1).psid == 1
    assert book.lease_of(client(1)) is not None
    with pytest.raises(ConfigError, match="in no pool"):
        LeaseBook(space, TERMS, reservations=[dataclasses.replace(ann, psid=2)])


def wanting(request: LeaseRequest, length: int) -> LeaseRequest:
    """As a call over RPC, which cannot hint at a PSID."""
    return dataclasses.replace(request, takes_port_set=True, want_psid_len=length)


def test_who_wants_a_port_set_gets_the_nearest_length_and_no_whole_address() -> None:
    book = pools({}, {"sharing": Sharing(6, 1)}, {"sharing": Sharing(6, 3)})
    assert [place(book, wanting(wish(n), n)) for n in (1, 3)] == [16, 32]
    assert place(book, wanting(wish(9, hint=0), 0xFFFFFFFF)) == 32
    assert place(book, wanting(wish(5, hint=16), 3)) == 16  # the hint is the dearer wish
    assert place(book, sharing(wish(6))) == 0
    whole = pools({})
    assert refusal(lambda: whole.grant(wanting(wish(1), 6), T0)) == "no-port-set"
    nobodys = pools({"selector": Selector(["ann"]), "sharing": Sharing(6, 1)}, {})
    assert refusal(lambda: nobodys.grant(wanting(wish(1), 1), T0)) == "no-port-set"
    assert place(nobodys, wanting(wish(1, identity="ann"), 1)) == 0
    full = pools({"sharing": Sharing(6, 1)}, {})
    for number in range(4):
        assert place(full, wanting(wish(number), 1)) < 16
    assert refusal(lambda: full.grant(wanting(wish(5), 1), T0)) == "no-address"


def test_a_whole_address_is_kept_but_not_lent_again_to_who_wants_a_port_set() -> None:
    book = pools({}, {"sharing": Sharing(6, 1)})
    lease = book.grant(wish(1), T0)
    assert place(book, wanting(wish(1), 1)) == 0
    rested(book, book.release(lease.ipv4))
    assert place(book, wanting(wish(1, hint=0), 1)) == 16


def test_a_hint_at_an_address_means_the_port_set_that_the_identity_has() -> None:
    book = pools({"sharing": Sharing(6, 2)})
    others = [book.grant(wanting(wish(n, identity=f"other{n}"), 2), T0) for n in (1, 2)]
    lease = book.grant(wanting(wish(3, identity="ann"), 2), T0)
    moved = book.grant(wanting(wish(4, hint=0, identity="ann"), 2), T0)
    assert (moved.share, moved.lease_id) == (lease.share, lease.lease_id)
    assert all(book.is_current(other) for other in others)
    book.release(moved.ipv4, client(4))
    back = book.grant(wanting(wish(5, hint=0, identity="ann"), 2), T0)  # from REMOVING
    assert back.share == lease.share
    ended = book.release(back.ipv4, client(5))
    book.removed(ended.ipv4, ended.lease_id, T0, psid=ended.psid)
    book.expire(T0 + TERMS.quarantine_s)
    again = book.grant(wanting(wish(6, hint=0, identity="ann"), 2), T0)  # from FREE
    assert again.share == lease.share


def test_a_hint_at_an_address_takes_no_port_set_from_a_sibling() -> None:
    """Hosts with one identity, as cloned machines have."""
    book = pools({"sharing": Sharing(6, 2)})
    held = [book.grant(wanting(wish(n, identity="ann"), 2), T0) for n in (1, 2)]
    third = book.grant(wanting(wish(3, hint=0, identity="ann"), 2), T0)  # which one was it?
    assert third.psid == 2
    book.release(third.ipv4, client(3))
    book.release(held[1].ipv4, client(2))
    assert book.grant(wanting(wish(3, hint=0, identity="ann"), 2), T0).psid == 2
    assert book.is_current(held[0])
