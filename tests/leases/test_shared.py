from __future__ import annotations

import dataclasses

import pytest

from dstmrouter.binding import address4, address6
from dstmrouter.errors import LeaseError
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.quota import Quotas
from dstmrouter.leases.shared import RUN_SHIFT, SharedBook
from dstmrouter.leases.sharing import Sharing
from dstmrouter.leases.state import State
from tests.leases.lending import FIRST, TEP6, TERMS, client, stored, wish
from tests.leases.shelf import SIZE, book, pair


def test_numbers_of_leases_are_of_the_run() -> None:
    a, b = pair()
    assert a.grant(1).lease_id == (1 << RUN_SHIFT) + 1
    assert b.grant(2).lease_id == (2 << RUN_SHIFT) + 1


def test_extending_a_lease_of_another_server_leaves_the_numbers_alone() -> None:
    a, b = pair()
    foreign = b.grant(2)
    b.settle()
    a.settle()
    assert a.grant(2).lease_id == foreign.lease_id
    assert a.grant(3).lease_id == (1 << RUN_SHIFT) + 1
    assert a.book.last_lease_id == (1 << RUN_SHIFT) + 1


def test_servers_lend_from_different_places() -> None:
    a, b = pair()
    assert a.grant(1).ipv4 == FIRST + 1
    assert b.grant(2).ipv4 == FIRST + 2


def test_of_two_that_lend_one_address_the_first_to_store_wins() -> None:
    a, b = pair()
    a.grant(1, hint=5)
    lost = b.grant(2, hint=5)
    other = b.grant(3)
    assert a.settle() == []
    assert b.settle() == [lost]
    assert b.book.lease_of(client(2)) is None
    assert b.book.lease_of(client(1)) == a.book.lease_of(client(1))
    assert b.book.drafts == []
    assert b.grant(2).ipv4 not in {FIRST + 5, other.ipv4}


def test_a_client_that_asks_both_has_one_lease() -> None:
    a, b = pair()
    first = a.grant(1)
    second = b.grant(1)
    assert first.ipv4 != second.ipv4
    a.settle()
    assert b.settle() == [second]
    assert b.grant(1).ipv4 == first.ipv4


def test_a_quota_holds_across_servers() -> None:
    a, b = pair(Quotas(per_64=2))
    a.grant(1)
    both = [b.grant(2), b.grant(3)]
    a.settle()
    assert len(b.settle()) == 1
    assert sum(b.book.lease_of(lease.client6) is not None for lease in both) == 1
    with pytest.raises(LeaseError, match="which is the limit"):
        b.grant(4)


def test_a_renewal_is_not_refused_by_a_quota_that_others_fill() -> None:
    a, b = pair(Quotas(per_64=2))
    b.grant(1)
    b.settle()
    b.waiting.append(b.book.renew(FIRST + 2, client(1), 1.0, lifetime_s=None))
    a.settle()
    a.grant(2)
    a.settle()
    assert b.settle() == []


def test_without_the_store_a_change_leaves_no_trace() -> None:
    a, _ = pair()
    lease = a.grant(1)
    a.settle()
    before = stored(a.book)
    a.waiting.append(a.book.release(lease.ipv4))
    a.waiting.append(a.book.hold(FIRST + 3))
    a.grant(2)
    a.settle(away=True)
    after = stored(a.book)
    assert after.ipv4.tolist() == before.ipv4.tolist()
    assert after.state.tolist() == before.state.tolist()
    assert after.lease_id.tolist() == before.lease_id.tolist()
    assert a.book.lease_of(client(1)) == lease
    assert a.book.used_percent() == [pytest.approx(100 / SIZE)]


def test_routers_are_told_what_is_stored_and_not_what_is_under_way() -> None:
    a, _ = pair()
    first, second = a.grant(1), a.grant(2)
    a.settle()
    a.book.release(first.ipv4)
    a.book.grant(wish(3), 0.0)
    columns = a.book.bindings(0.0, [TEP6])
    told = {
        address4(ipv4): address6(c) for ipv4, c in zip(columns.ipv4, columns.client6, strict=True)
    }
    assert told == {first.ipv4: client(1), second.ipv4: client(2)}


def test_a_removal_that_was_finished_elsewhere_is_told_all_the_same() -> None:
    a, b = pair()
    lease = a.grant(1)
    a.settle()
    b.settle()
    a.waiting.append(a.book.release(lease.ipv4))
    a.settle()
    resting = a.book.removed(lease.ipv4, lease.lease_id, 1.0)
    assert resting is not None
    a.waiting.append(resting)
    a.settle()
    [told] = b.book.adopt(a.shelf.newer(b.seen))
    assert told.state is State.REMOVING
    assert b.book.table.get(1) == resting


def test_addresses_of_no_pool_of_ours_are_left_alone() -> None:
    a = book(1)
    row = book(2).grant(wish(1), 0.0)
    assert a.adopt([dataclasses.replace(row, ipv4=FIRST - 1)]) == []


def test_a_grant_that_is_being_stored_is_refused_although_it_was_released_already() -> None:
    a, b = pair()
    a.grant(1)
    lost = b.grant(1)
    b.book.release(lost.ipv4)  # decided, and waits for the next transaction
    a.settle()
    assert b.settle() == [lost]
    assert b.book.drafts == []
    assert [row.client6 for _, row in a.shelf.rows.values()] == [client(1)]


def shared_book(run: int, psid_len: int) -> SharedBook:
    blocks = [(FIRST, FIRST + 1)]
    space = AddressSpace([Pool.of("shared", blocks, sharing=Sharing(6, psid_len))])
    return SharedBook(space, TERMS, run=run, tep6=[TEP6])


def test_port_sets_are_lent_adopted_and_withdrawn_one_by_one() -> None:
    a, b = shared_book(1, 2), shared_book(2, 2)
    taking = [dataclasses.replace(wish(n), takes_port_set=True) for n in range(3)]
    first, second = (a.grant(each, 0.0) for each in taking[:2])
    assert first.ipv4 == second.ipv4
    a.kept([first])
    assert b.adopt([first]) == [first]
    a.withdraw(second.share)
    assert (a.drafts, a.lease_of(client(0)), a.lease_of(client(1))) == ([], first, None)
    told = b.bindings(0.0, [TEP6])
    assert (told.psid_len.tolist(), told.psid.tolist()) == ([2], [first.psid])
    third = b.grant(taking[2], 0.0)
    assert third.share != first.share
    assert b.bindings(0.0, [TEP6]).psid.tolist() == [first.psid]  # the draft is not told
    b.release(first.ipv4, psid=first.psid)
    assert b.bindings(0.0, [TEP6]).psid.tolist() == [first.psid]


def test_what_another_configuration_shares_in_another_way_is_left_alone() -> None:
    lease = shared_book(1, 3).grant(dataclasses.replace(wish(1), takes_port_set=True), 0.0)
    other = shared_book(2, 2)
    assert other.adopt([lease]) == []
    other.kept([lease])
    assert other.drafts == []
