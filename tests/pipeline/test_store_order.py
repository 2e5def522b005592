from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.store_order import StoreOrder

SLOTS = 6


def slots(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(numbers, np.uint32)


def test_what_is_older_than_what_an_address_was_told_is_no_news() -> None:
    order = StoreOrder(b"s", SLOTS)
    assert order.take(slots(1, 2), 5).tolist() == [0, 1]
    assert order.take(slots(3, 2, 1), 4).tolist() == [0]
    assert order.take(slots(1), 5).tolist() == [0]  # the other server says the same
    assert order.take(slots(1, 2, 3), 6).tolist() == [0, 1, 2]


def test_a_snapshot_is_about_all_addresses_but_the_newer_ones() -> None:
    order = StoreOrder(b"s", SLOTS)
    order.take(slots(1), 9)
    order.take(slots(2, 3), 7)
    assert order.complete(8)[0].tolist() == [1]
    assert order.take(slots(2, 4), 7).tolist() == []
    assert order.take(slots(1, 4), 8).tolist() == [1]
    assert order.complete(7)[0].tolist() == list(range(SLOTS))
    assert order.complete(10)[0].tolist() == []


@given(st.data())
def test_any_interleaving_of_two_servers_ends_with_the_newest_state(data: st.DataObject) -> None:
    """The store's history, told by two servers in order but at their own pace."""
    changes = data.draw(
        st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 3)), min_size=1, max_size=12)
    )
    states: list[list[int]] = [[0] * SLOTS]
    for slot, holder in changes:
        states.append([*states[-1]])
        states[-1][slot] = holder
    order, table = StoreOrder(b"s", SLOTS), [0] * SLOTS
    told = [0, 0]
    newest = 0
    while min(told) < len(changes):
        server = data.draw(st.sampled_from([s for s in (0, 1) if told[s] < len(changes)]))
        version = data.draw(st.integers(told[server] + 1, len(changes)))
        whole = data.draw(st.booleans())
        changed = sorted({slot for slot, _ in changes[told[server] : version]})
        rows = slots(*(range(SLOTS) if whole else changed))
        for position in order.take(rows, version).tolist():
            table[rows[position]] = states[version][rows[position]]
        if whole:
            order.complete(version)
        told[server] = version
        newest = max(newest, version)
        assert table == states[newest]
