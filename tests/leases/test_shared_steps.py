"""Any steps of two servers that share a store: their books agree, and no rule is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import LeaseError
from dstmrouter.leases.quota import Holdings, Quotas
from dstmrouter.leases.state import BOUND, State
from tests.leases.lending import FIRST, client, wish
from tests.leases.shelf import SIZE, Server, Shelf, pair

if TYPE_CHECKING:
    from dstmrouter.leases.lease import Lease

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["grant", "renew", "release", "removed", "hold", "unhold", "expire", "settle", "away"]
        ),
        st.integers(0, 1),
        st.integers(0, 4),
        st.integers(0, SIZE - 1),
    ),
    max_size=40,
)


def act(server: Server, what: str, number: int, place: int, now: float) -> list[Lease]:
    lending, ipv4 = server.book, FIRST + place
    if what == "grant":
        identity = "ann" if number < 2 else ""
        return [lending.grant(wish(number, place, identity), now)]
    if what == "renew":
        return [lending.renew(ipv4, client(number), now, lifetime_s=None)]
    if what == "release":
        return [lending.release(ipv4)]
    if what == "removed":
        done = lending.removed(ipv4, lending.table.get(place).lease_id, now)
        return [] if done is None else [done]
    if what in {"hold", "unhold"}:
        return [getattr(lending, what)(ipv4)]
    return lending.expire(now)


@given(STEPS)
def test_whatever_two_servers_do_their_books_agree_and_no_rule_is_broken(
    steps: list[tuple[str, int, int, int]],
) -> None:
    quotas = Quotas(per_identity=2, per_64=4)
    servers = pair(quotas)
    shelf = servers[0].shelf
    for now, (what, which, number, place) in enumerate(steps):
        server = servers[which]
        if what in {"settle", "away"}:
            server.settle(away=what == "away")
        else:
            try:
                server.waiting += act(server, what, number, place, 40.0 * now)
            except LeaseError:
                continue
        bound = [row for _, row in shelf.rows.values() if row.state in BOUND]
        assert len({row.client6 for row in bound}) == len(bound) <= quotas.per_64
        assert sum(row.identity == "ann" for row in bound) <= quotas.per_identity
    for server in (*servers, *servers):
        server.settle()
    for server in servers:
        check(server, shelf, quotas)


def check(server: Server, shelf: Shelf, quotas: Quotas) -> None:
    """The book is as the store, and what it keeps beside its rows is as if counted anew."""
    assert server.book.drafts == []
    for slot in range(SIZE):
        row = server.book.table.get(slot)
        if row.share in shelf.rows:
            assert row == shelf.rows[row.share][1]
        else:
            assert row.lease_id == 0
        assert (slot in server.book._free) == (row.state is State.FREE)
        if row.bound:
            assert server.book.lease_of(row.client6) == row
    recount = Holdings(quotas)
    recount.load(server.book.table)
    assert server.book._holdings.counted() == recount.counted()
