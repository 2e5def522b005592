from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import LeaseError
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.lease import LeaseRequest
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.sharing import WHOLE, Sharing
from dstmrouter.leases.state import State
from tests.leases.lending import FIRST, TERMS, client, columns, stored

if TYPE_CHECKING:
    from dstmrouter.leases.lease import Lease

T0 = 1000.0
HALVES, QUARTERS = Sharing(6, 1), Sharing(6, 2)


def sharing(how: Sharing) -> LeaseBook:
    """One address, 192.0.2.0, shared so."""
    return LeaseBook(AddressSpace([Pool.of("p", [(FIRST, FIRST)], sharing=how)]), TERMS)


def wish(number: int, psid: int = 0, identity: str = "") -> LeaseRequest:
    return LeaseRequest(
        client6=client(number),
        identity=identity,
        takes_port_set=True,
        hint=FIRST,
        hint_psid=psid,
    )


def again(rows: list[Lease], how: Sharing) -> tuple[LeaseBook, list[Lease]]:
    """Another start with the rows that a store holds then; the last of a share counts."""
    last = {row.share: row for row in rows}
    book = sharing(how)
    return book, book.restore(columns(sorted(last.values(), key=lambda row: row.share)))


@pytest.mark.parametrize(
    ("before", "after"),
    [(WHOLE, HALVES), (HALVES, WHOLE), (HALVES, QUARTERS), (QUARTERS, HALVES)],
)
@pytest.mark.parametrize("acked", [False, True])
def test_nobody_gets_a_part_of_what_another_may_still_have(
    before: Sharing, after: Sharing, acked: bool
) -> None:
    book = sharing(before)
    lease = book.grant(wish(1, before.sets - 1, "ann"), T0)
    book, changes = again([lease], after)
    assert {row.state for row in changes} == {State.FREE, State.REMOVING}
    assert book.lease_of(client(1)) is None
    for asking in (wish(2), wish(1, 0, "ann")):
        with pytest.raises(LeaseError) as refused:
            book.grant(asking, T0)
        assert refused.value.reason == "no-address"
    gone = T0 + 1 if acked else lease.until + TERMS.grace_s
    if acked:
        for row in changes[1:]:
            assert book.removed(row.ipv4, row.lease_id, gone, psid=row.psid) is not None
    else:
        assert book.expire(gone - 0.001) == []
        book.expire(gone)
    with pytest.raises(LeaseError):
        book.grant(wish(2), gone + TERMS.quarantine_s - 0.001)
    book.expire(gone + TERMS.quarantine_s)
    got = [book.grant(wish(number), gone + 300).psid for number in range(2, 2 + after.sets)]
    assert got == list(range(after.sets))


def test_after_the_change_another_start_finds_everything_in_order() -> None:
    book = sharing(WHOLE)
    lease = book.grant(wish(1), T0)
    _, changes = again([lease], HALVES)
    after, more = again([lease, *changes], HALVES)
    assert more == []
    assert [after.table.get(slot).state for slot in (0, 1)] == [State.REMOVING] * 2
    assert [after.table.get(slot).client6 for slot in (0, 1)] == [IPv6Address("::")] * 2


def test_the_strictest_of_several_former_leases_counts() -> None:
    book = sharing(QUARTERS)
    leases = [book.grant(wish(n, n), T0 + n) for n in range(4)]
    leases[3] = book.hold(FIRST, psid=3)
    after, changes = again(leases, HALVES)
    assert [row.state for row in changes[:4]] == [State.FREE] * 4
    assert [after.table.get(slot).state for slot in (0, 1)] == [State.HELD] * 2
    assert after.table.get(0).until == leases[3].until


def test_former_leases_at_rest_and_other_pools_change_nothing() -> None:
    book = sharing(WHOLE)
    lease = book.grant(wish(1), T0)
    book.release(lease.ipv4)
    book.removed(lease.ipv4, lease.lease_id, T0)
    book.expire(T0 + 1000)
    after, changes = again([book.table.get(0)], HALVES)
    assert changes == []
    assert after.grant(wish(2), T0 + 1000).psid == 0
    elsewhere = LeaseBook(AddressSpace([Pool.of("q", [(FIRST + 9, FIRST + 9)])]), TERMS)
    held = sharing(WHOLE)
    held.grant(wish(1), T0)
    assert elsewhere.restore(stored(held)) == []
