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


def test_port_sets_of_an_address_are_known_each_by_itself() -> None:
    order = StoreOrder(b"s", SLOTS)

    def take(version: int, *psids: int, slot: int = 1, length: int = 2) -> list[int]:
        lengths = np.full(len(psids), length, np.uint8)
        rows = np.full(len(psids), slot, np.uint32)
        news = order.take(rows, version, lengths, np.array(psids, np.uint16))
        return [int(position) for position in news]

    assert take(5, 0, 3) == [0, 1]
    assert take(4, 0, 1, 3) == [1]
    assert take(3, 0, 1, 3, slot=2) == [0, 1, 2]
    assert take(6, 9, length=4) == [0], "divided in another way since"
    assert take(4, 0, 1, 3, 9, length=4) == [1]
    assert take(4, 2, 3) == [0], "told late of how it was divided"
    assert order.take(slots(1), 1).tolist() == [0], "the whole address is yet another matter"
    whole, psids = order.complete(4)
    assert list(zip(whole.tolist(), psids.tolist(), strict=True)) == [(1, 0), (1, 3), (1, 9)]
    assert take(3, 1) == []
    everything = order.complete(2)
    assert set(zip(*(column.tolist() for column in everything), strict=True)) >= {
        *((slot, 0) for slot in range(SLOTS)),
        (1, 15),
        (2, 3),
    }


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
