from __future__ import annotations

import dataclasses

import numpy as np

from dstmrouter.binding import OP_PUT, OP_REMOVE, address4, address6
from dstmrouter.leases.bindings import all_bindings, changed_bindings
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.sharing import Sharing
from tests.leases.lending import FIRST, TEP6, TERMS, book_of, client, pool, wish

T0 = 1000.0
SHARING = Sharing(6, 8)
GRACE_S = TERMS.grace_s


def test_changes_say_put_remove_or_nothing() -> None:
    book = book_of(5)
    leases = [book.grant(wish(1), T0), book.offer(wish(2), T0)]
    ended = book.grant(wish(3), T0)
    leases.append(book.release(ended.ipv4))
    resting = book.grant(wish(4), T0)
    book.release(resting.ipv4)
    quarantined = book.removed(resting.ipv4, resting.lease_id, T0)
    assert quarantined is not None
    leases.append(quarantined)
    book.grant(wish(5), T0)
    leases.append(book.hold(FIRST + 4))
    columns = changed_bindings(leases, T0, grace_s=GRACE_S, tep6=[TEP6])
    assert columns.op.tolist() == [OP_PUT, OP_PUT, OP_REMOVE, OP_REMOVE]
    assert [address4(a) for a in columns.ipv4] == [FIRST, FIRST + 1, FIRST + 2, FIRST + 4]
    assert [address6(words) for words in columns.client6] == [client(n) for n in (1, 2, 3, 5)]
    assert columns.lifetime_s.tolist()[:2] == [130, 35]
    assert columns.tep6 == (TEP6,)


def test_of_several_changes_of_an_address_the_last_counts() -> None:
    book = book_of(1)
    first = book.grant(wish(1), T0)
    changes = [first, book.release(first.ipv4), book.grant(wish(1), T0 + 1)]
    columns = changed_bindings(changes, T0 + 1, grace_s=GRACE_S, tep6=[TEP6])
    assert columns.op.tolist() == [OP_PUT]
    removal = changed_bindings(changes[:2], T0 + 1, grace_s=GRACE_S, tep6=[TEP6])
    assert removal.op.tolist() == [OP_REMOVE]


def test_no_change_for_routers_is_no_rows() -> None:
    assert len(changed_bindings([], T0, grace_s=GRACE_S, tep6=[TEP6])) == 0


def test_snapshot_holds_leases_until_their_grace_is_over() -> None:
    book = book_of(3)
    book.grant(wish(1), T0)
    book.grant(wish(2), T0 + 0.5)
    book.release(book.grant(wish(3), T0).ipv4)
    late = T0 + TERMS.default_s + GRACE_S
    for now, expected in ((T0, [130, 131]), (late - 0.25, [1, 1]), (late, [1]), (late + 1, [])):
        columns = all_bindings(book.table, now, grace_s=GRACE_S, tep6=[TEP6])
        assert columns.lifetime_s.tolist() == expected
        assert columns.op.tolist() == [OP_PUT] * len(expected)
    columns = all_bindings(book.table, T0, grace_s=GRACE_S, tep6=[TEP6])
    assert [address4(a) for a in columns.ipv4] == [FIRST, FIRST + 1]
    assert [address6(words) for words in columns.client6] == [client(1), client(2)]


def test_port_sets_are_told_in_changes_and_snapshots() -> None:
    space = AddressSpace(
        [pool("192.0.2.0", "192.0.2.0"), Pool.of("s", [(FIRST + 1, FIRST + 1)], sharing=SHARING)]
    )
    book = LeaseBook(space, TERMS)
    leases = [book.grant(dataclasses.replace(wish(n), takes_port_set=True), T0) for n in (1, 2, 3)]
    changes = changed_bindings(leases, T0, grace_s=GRACE_S, tep6=[TEP6])
    snapshot = all_bindings(book.table, T0, grace_s=GRACE_S, tep6=[TEP6])
    for columns in (changes, snapshot):
        assert [address4(a) for a in columns.ipv4] == [FIRST, FIRST + 1, FIRST + 1]
        assert columns.psid_offset.tolist() == [0, 6, 6]
        assert columns.psid_len.tolist() == [0, 8, 8]
        assert columns.psid.tolist() == [0, 0, 1]
        assert {name: getattr(columns, name).dtype for name in ("psid_len", "psid")} == {
            "psid_len": np.uint8,
            "psid": np.uint16,
        }
    removal = changed_bindings([book.release(FIRST + 1, psid=1)], T0, grace_s=GRACE_S, tep6=[TEP6])
    assert (removal.op.tolist(), removal.psid.tolist()) == ([OP_REMOVE], [1])
