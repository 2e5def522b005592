"""What becomes of the usage of bindings that end, while workers may still count."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from dstmrouter.binding import OP_REMOVE, address6
from dstmrouter.pipeline.usage import UsageTable
from dstmrouter.pipeline.usage_book import UsageBook
from tests.pipeline.test_binding_writer import CLIENTS, POOL, Setup, puts

if TYPE_CHECKING:
    from dstmrouter.binding import BindingColumns

WORKERS: Final = 2
A, B = POOL[5], POOL[6]


class Counting(Setup):
    """A table with a book; `clock` is what it takes for the time."""

    def __init__(self, rows: int = 4, set_slots: int = 0, capacity: int = 100) -> None:
        super().__init__(rows, set_slots=set_slots)
        n = len(self.table.rows)
        self.usage = UsageTable(bytearray(UsageTable.size(WORKERS, n)), WORKERS, n)
        self.clock = 1000.5
        writer = self.writer
        now = self._now
        self.book = UsageBook(self.table, self.usage, writer.owners, now, capacity)
        writer.on_unbound, writer.spare.on_free = self.book.leaving, self.book.freed

    def _now(self) -> float:
        return self.clock

    def row_number(self, address: IPv4Address) -> int:
        return int(self.table.slots[self.slot(address)])

    def carry(self, row: int, *counts: int, worker: int = 0) -> None:
        """A worker counts."""
        self.usage.values[worker, row] += np.array(counts, np.uint64)

    def ended(self, after: int = 0) -> list[tuple[str, int, str, str, list[int]]]:
        """Address, PSID, client, source and counts of what has ended."""
        _, entries = self.book.list_ended(after, 100)
        return [
            (
                str(IPv4Address(int(entry["ipv4"]))),
                int(entry["psid"]),
                str(address6(entry["client6"])),
                self.book.source_name(int(entry["source"])),
                entry["usage"].tolist(),
            )
            for entry in entries
        ]


def removal(columns: BindingColumns) -> BindingColumns:
    return dataclasses.replace(columns, op=np.full(len(columns), OP_REMOVE, np.uint8))


@pytest.fixture
def setup() -> Counting:
    made = Counting()
    made.book.turn(on=True)
    return made


def test_a_row_begins_at_zero_and_what_its_last_holder_had_is_listed(setup: Counting) -> None:
    setup.put("s1", (A, CLIENTS[0]))
    row = setup.row_number(A)
    setup.carry(row, 1, 20, 2, 60)
    setup.carry(row, 3, 30, 0, 0, worker=1)
    assert setup.book.of(np.array([row], np.uint32)).tolist() == [[4, 50, 2, 60]]
    setup.writer.apply("s1", removal(puts((A, CLIENTS[0]))), 101)
    setup.writer.reclaim()
    assert setup.ended() == [(str(A), 0, str(CLIENTS[0]), "s1", [4, 50, 2, 60])]
    assert setup.book.list_ended(0, 9)[1]["until"].tolist() == [1000.5]
    assert not setup.usage.values.any()
    setup.put("s1", *((POOL[n], CLIENTS[1]) for n in range(5, 9)))  # all rows there are
    assert setup.book.of(np.array([row], np.uint32)).tolist() == [[0, 0, 0, 0]]


def test_what_a_worker_counts_in_its_last_turn_counts(setup: Counting) -> None:
    setup.put("s1", (A, CLIENTS[0]))
    row = setup.row_number(A)
    setup.turns.begin(0)
    setup.put("s1", (A, CLIENTS[1]))
    setup.carry(row, 0, 0, 1, 40)
    setup.writer.reclaim()
    assert setup.ended() == []
    setup.turns.end(0)
    setup.writer.reclaim()
    assert setup.ended() == [(str(A), 0, str(CLIENTS[0]), "s1", [0, 0, 1, 40])]


def test_a_renewal_goes_on_counting(setup: Counting) -> None:
    setup.put("s1", (A, CLIENTS[0]))
    setup.carry(setup.row_number(A), 1, 20, 0, 0)
    setup.put("s1", (A, CLIENTS[0]), lifetime=900)
    assert setup.book.of(np.array([setup.row_number(A)], np.uint32)).tolist() == [[1, 20, 0, 0]]
    assert setup.ended() == []


def test_every_way_to_end_is_an_end(setup: Counting) -> None:
    for number, address in enumerate((A, B, POOL[7])):
        setup.put(f"s{number}", (address, CLIENTS[number]), lifetime=60 if number else 10)
        setup.carry(setup.row_number(address), 1, 20, 0, number)
    setup.writer.expire(120)
    setup.writer.replace("s1", np.zeros(0, np.uint32))
    setup.put("s2", (POOL[7], CLIENTS[5]))
    setup.writer.reclaim()
    found = [(address, source, counts[3]) for address, _, _, source, counts in setup.ended()]
    assert found == [(str(A), "s0", 0), (str(B), "s1", 1), (str(POOL[7]), "s2", 2)]


def test_bindings_without_a_packet_are_not_listed(setup: Counting) -> None:
    setup.put("s1", (A, CLIENTS[0]), (B, CLIENTS[1]))
    setup.carry(setup.row_number(B), 1, 20, 0, 0)
    setup.writer.expire(1000)
    setup.writer.reclaim()
    assert [address for address, *_ in setup.ended()] == [str(B)]


def test_port_sets_are_told_apart_by_their_psid() -> None:
    setup = Counting(rows=6, set_slots=16)
    setup.book.turn(on=True)
    columns = puts((A, CLIENTS[0]), (A, CLIENTS[1]))
    columns.psid_offset[:], columns.psid_len[:], columns.psid[:] = 6, 4, [3, 9]
    setup.writer.apply("s1", columns, 100)
    base = int(setup.row(A)["base"])
    for psid in (3, 9):
        setup.carry(int(setup.table.slots[base + psid]), psid, 0, 0, 0)
    setup.writer.apply("s1", removal(columns), 101)
    setup.writer.reclaim()
    assert [(psid, counts[0]) for _, psid, _, _, counts in setup.ended()] == [(3, 3), (9, 9)]
    _, entries = setup.book.list_ended(0, 9)
    assert set(entries["psid_len"]) == {4}
    assert set(entries["psid_offset"]) == {6}


def test_nothing_is_looked_at_before_counting_was_on() -> None:
    setup = Counting()
    assert (setup.book.on, setup.book.since) == (False, None)
    setup.usage.values[:] = 7
    setup.put("s1", (A, CLIENTS[0]))
    assert setup.book.of(np.array([setup.row_number(A)], np.uint32)).tolist() == [[0] * 4]
    setup.writer.expire(1000)
    setup.writer.reclaim()
    assert setup.book.ended == 0
    assert (setup.usage.values == 7).all()


def test_what_was_counted_is_not_lost_when_it_ends_while_counting_is_off(setup: Counting) -> None:
    setup.put("s1", (A, CLIENTS[0]))
    setup.carry(setup.row_number(A), 1, 20, 0, 0)
    setup.book.turn(on=False)
    setup.clock = 2000.0
    assert (setup.book.on, setup.book.since) == (False, 1000.5)
    setup.writer.expire(1000)
    setup.writer.reclaim()
    assert len(setup.ended()) == 1
    setup.book.turn(on=True)
    assert setup.book.since == 1000.5


def test_the_oldest_entries_go_and_readers_see_it() -> None:
    setup = Counting(capacity=3)
    setup.book.turn(on=True)
    for number in range(1, 6):
        setup.put("s1", (A, CLIENTS[number]))
        setup.carry(setup.row_number(A), number, 0, 0, 0)
        setup.writer.expire(1000)
        setup.writer.reclaim()
    assert setup.book.ended == 5
    first, entries = setup.book.list_ended(0, 2)
    assert (first, entries["usage"][:, 0].tolist()) == (3, [3, 4])
    first, entries = setup.book.list_ended(4, 2)
    assert (first, entries["usage"][:, 0].tolist()) == (5, [5])
    first, entries = setup.book.list_ended(5, 2)
    assert (first, len(entries)) == (6, 0)


def test_more_ends_at_once_than_are_kept() -> None:
    setup = Counting(rows=8, capacity=3)
    setup.book.turn(on=True)
    setup.put("s1", *((POOL[n], CLIENTS[n - 2]) for n in range(2, 8)))
    for n in range(2, 8):
        setup.carry(setup.row_number(POOL[n]), n, 0, 0, 0)
    setup.writer.expire(1000)
    setup.writer.reclaim()
    first, entries = setup.book.list_ended(0, 9)
    assert len(entries) == 3
    assert first == setup.book.ended - 2


def numbers(setup: Counting, *addresses: IPv4Address) -> list[int]:
    rows = np.array([setup.row_number(address) for address in addresses], np.uint32)
    accounts: list[int] = setup.book.accounts(rows).tolist()
    return accounts


def test_no_two_bindings_have_the_same_account(setup: Counting) -> None:
    seen: list[int] = []
    for number in range(20):  # there are not so many rows
        setup.put("s1", (A, CLIENTS[number % 2]), (B, CLIENTS[0]))
        seen.append(*numbers(setup, A))
        setup.carry(setup.row_number(A), number % 3, 0, 0, 0)  # some are never used
        setup.writer.reclaim()
    assert len(set(seen)) == 20
    assert set(seen).isdisjoint(numbers(setup, B))
    ended = setup.book.list_ended(0, 99)[1]["account"].tolist()
    assert ended == [account for n, account in enumerate(seen[:-1]) if n % 3]


def test_accounts_are_told_apart_from_those_before_counting_was_on() -> None:
    setup = Counting()
    setup.put("s1", (A, CLIENTS[0]))
    (before,) = numbers(setup, A)
    setup.writer.expire(1000)
    setup.book.turn(on=True)
    setup.writer.reclaim()
    setup.put("s1", *((POOL[n], CLIENTS[1]) for n in range(5, 9)))  # all rows there are
    assert before not in numbers(setup, *(POOL[n] for n in range(5, 9)))


def changed(setup: Counting, *addresses: IPv4Address) -> list[IPv4Address]:
    rows = np.array([setup.row_number(address) for address in addresses], np.uint32)
    return [addresses[n] for n in setup.book.changed(rows)]


def test_what_has_become_more_is_told_once(setup: Counting) -> None:
    setup.put("s1", (A, CLIENTS[0]), (B, CLIENTS[1]))
    assert changed(setup, A, B) == []
    setup.carry(setup.row_number(B), 1, 20, 0, 0, worker=1)
    assert changed(setup, A, B) == [B]
    assert changed(setup, A, B) == []
    setup.carry(setup.row_number(B), 0, 20, 0, 0)  # octets of a packet that was there already
    setup.carry(setup.row_number(A), 0, 0, 1, 40)
    assert changed(setup, A, B) == [A, B]


def test_a_new_holder_with_the_same_counts_is_another_change(setup: Counting) -> None:
    seen = set()
    for number in range(8):
        setup.put("s1", (A, CLIENTS[number]))
        setup.carry(setup.row_number(A), 1, 20, 0, 0)
        assert changed(setup, A) == [A]
        seen.add(setup.row_number(A))
        setup.writer.expire(1000)
        setup.writer.reclaim()
    assert len(seen) < 8, "a row was used again"


def test_nothing_has_changed_before_counting_was_on() -> None:
    setup = Counting()
    setup.put("s1", (A, CLIENTS[0]))
    setup.usage.values[:] = 7
    assert changed(setup, A) == []
