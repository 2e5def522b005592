from __future__ import annotations

import dataclasses
import mmap
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from dstmrouter.binding import (
    LIFETIME_FOREVER,
    OP_PUT,
    OP_REMOVE,
    BindingColumns,
    address6,
    full_address_columns,
    words6,
)
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.acceptance import Applied
from dstmrouter.pipeline.binding_writer import SOURCES_MAX, BindingWriter
from dstmrouter.pipeline.bindings import FIXED_ROWS, FOREVER, BindingTable, RowKind, covered_blocks
from dstmrouter.pipeline.quiescence import Turns

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.binding import Words6

POOL: Final = IPv4Network("203.0.113.0/28")
TEP4: Final = POOL[1]
TEPS: Final = (IPv6Address("2001:db8:402::1"), IPv6Address("2001:db8:402::2"))
FOREIGN_TEP: Final = IPv6Address("2001:db8:402::99")
CLIENTS: Final = [IPv6Address(f"2001:db8:1::{n}") for n in range(1, 9)]


class Setup:
    """A writer over a small table, with one worker."""

    def __init__(self, rows: int, pool: IPv4Network = POOL, set_slots: int = 0) -> None:
        blocks = len(covered_blocks([pool], int(TEP4))) + 1
        sizes = blocks, FIXED_ROWS + rows, set_slots
        self.table = BindingTable(mmap.mmap(-1, sum(BindingTable.sizes(*sizes))), *sizes)
        self.table.lay_out([pool], int(TEP4))
        self.turns = Turns(bytearray(Turns.size(1)), 1)
        self.hop = 7
        self.writer = BindingWriter(self.table, self.turns, TEPS, self._hops_of)

    def _hops_of(self, client6: Words6) -> npt.NDArray[np.uint32]:
        return np.full(len(client6), self.hop, np.uint32)

    def row(self, address: IPv4Address) -> np.void:
        row: np.void = self.table.look_up(np.array([int(address)], np.uint32))[0]
        return row

    def slot(self, address: IPv4Address) -> int:
        return int(self.table.slot_of(np.array([int(address)], np.uint32))[0])

    def put(
        self, source: str, *pairs: tuple[IPv4Address, IPv6Address], lifetime: int = 60
    ) -> Applied:
        return self.writer.apply(source, puts(*pairs, lifetime=lifetime), 100)


def puts(*pairs: tuple[IPv4Address, IPv6Address], lifetime: int = 60) -> BindingColumns:
    return full_address_columns(
        np.array([int(address) for address, _ in pairs], np.uint32),
        words6([client for _, client in pairs]),
        lifetime_s=lifetime,
        tep6=(*TEPS, FOREIGN_TEP),
    )


def removals(*addresses: IPv4Address) -> BindingColumns:
    columns = puts(*((address, CLIENTS[0]) for address in addresses))
    return dataclasses.replace(columns, op=np.full(len(columns), OP_REMOVE, np.uint8))


def test_a_binding_is_found_as_it_was_put() -> None:
    setup = Setup(4)
    columns = dataclasses.replace(puts((POOL[5], CLIENTS[0])), tep=np.array([1], np.uint8))
    assert setup.writer.apply("server", columns, 100) == Applied(1, {})
    row = setup.row(POOL[5])
    assert address6(row["client6"]) == CLIENTS[0]
    assert (row["kind"], row["tep"], row["hop"], row["expires"]) == (RowKind.BOUND, 1, 7, 160)
    assert row["ipv4"] == int(POOL[5])
    assert setup.writer.bound == 1


def test_lifetimes_that_do_not_end_and_those_that_end_late() -> None:
    setup = Setup(4)
    setup.put("server", (POOL[5], CLIENTS[0]), lifetime=LIFETIME_FOREVER)
    setup.put("server", (POOL[6], CLIENTS[1]), lifetime=LIFETIME_FOREVER - 1)
    assert setup.row(POOL[5])["expires"] == FOREVER
    assert setup.row(POOL[6])["expires"] == FOREVER - 1
    assert setup.writer.expire(FOREVER - 2) == 0


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (IPv4Address("8.8.8.8"), "address in no pool of this router"),
        (POOL[0] + 20, "address in no pool of this router"),
        (TEP4, "address is tep4"),
    ],
)
def test_addresses_that_cannot_be_bound(address: IPv4Address, reason: str) -> None:
    setup = Setup(2)
    before = setup.row(address).copy()
    for change in (puts((address, CLIENTS[0])), removals(address)):
        result = setup.writer.apply("server", change, 0)
        assert result == Applied(0, {reason: 1})
        assert result.refused == 1
    assert setup.row(address) == before


def test_foreign_tep6_and_unknown_operations_are_refused() -> None:
    setup = Setup(2)
    foreign = dataclasses.replace(puts((POOL[5], CLIENTS[0])), tep=np.array([2], np.uint8))
    assert setup.writer.apply("server", foreign, 0).reasons == {"tep6 not of this router": 1}
    beyond = dataclasses.replace(puts((POOL[5], CLIENTS[0])), tep=np.array([9], np.uint8))
    assert setup.writer.apply("server", beyond, 0).reasons == {"tep6 not of this router": 1}
    odd = dataclasses.replace(puts((POOL[5], CLIENTS[0])), op=np.array([7], np.uint8))
    assert setup.writer.apply("server", odd, 0).reasons == {"operation unknown": 1}
    assert setup.writer.bound == 0


def test_one_bad_change_does_not_keep_others_out() -> None:
    setup = Setup(4)
    result = setup.put("server", (POOL[5], CLIENTS[0]), (TEP4, CLIENTS[1]), (POOL[6], CLIENTS[2]))
    assert result == Applied(2, {"address is tep4": 1})


def test_the_last_change_of_an_address_counts() -> None:
    setup = Setup(4)
    assert setup.put("server", (POOL[5], CLIENTS[0]), (POOL[5], CLIENTS[1])).applied == 2
    assert address6(setup.row(POOL[5])["client6"]) == CLIENTS[1]
    both = dataclasses.replace(
        puts((POOL[5], CLIENTS[2]), (POOL[5], CLIENTS[3])),
        op=np.array([OP_PUT, OP_REMOVE], np.uint8),
    )
    setup.writer.apply("server", both, 100)
    assert setup.row(POOL[5])["kind"] == RowKind.UNBOUND


def test_a_renewal_keeps_its_row_and_a_new_client_gets_another() -> None:
    setup = Setup(4)
    setup.put("server", (POOL[5], CLIENTS[0]))
    row = int(setup.table.slots[setup.slot(POOL[5])])
    setup.put("server", (POOL[5], CLIENTS[0]), lifetime=600)
    assert setup.table.slots[setup.slot(POOL[5])] == row
    assert setup.row(POOL[5])["expires"] == 700
    setup.put("server", (POOL[5], CLIENTS[1]))
    assert setup.table.slots[setup.slot(POOL[5])] != row


def test_a_row_in_use_by_a_worker_is_not_used_again() -> None:
    setup = Setup(1)
    setup.put("server", (POOL[5], CLIENTS[0]))
    setup.turns.begin(0)
    setup.writer.apply("server", removals(POOL[5]), 100)
    assert setup.writer.reclaim() == 1
    assert setup.put("server", (POOL[6], CLIENTS[1])) == Applied(0, {"table full": 1})
    setup.turns.end(0)
    assert setup.put("server", (POOL[6], CLIENTS[1])) == Applied(1, {})
    assert setup.writer.reclaim() == 0


def test_a_row_that_was_replaced_is_not_used_while_a_worker_may_hold_it() -> None:
    setup = Setup(2)
    setup.put("server", (POOL[5], CLIENTS[0]))
    setup.turns.begin(0)
    assert setup.put("server", (POOL[5], CLIENTS[1])) == Applied(1, {})
    assert setup.put("server", (POOL[6], CLIENTS[2])) == Applied(0, {"table full": 1})
    setup.turns.end(0)
    assert setup.put("server", (POOL[6], CLIENTS[2])) == Applied(1, {})


def test_a_full_table_takes_what_fits_and_keeps_what_it_has() -> None:
    setup = Setup(2)
    pairs = [(POOL[5 + n], CLIENTS[n]) for n in range(3)]
    assert setup.put("server", *pairs) == Applied(2, {"table full": 1})
    assert setup.writer.bound == 2
    assert setup.put("server", *pairs[:2], lifetime=5) == Applied(2, {}), "renewals need no row"


def test_next_hops_are_asked_for_again() -> None:
    setup = Setup(2)
    setup.writer.resolve_again()
    setup.put("server", (POOL[5], CLIENTS[0]))
    assert setup.writer.hops_in_use().tolist() == [7]
    setup.hop = 9
    setup.writer.resolve_again()
    assert setup.row(POOL[5])["hop"] == 9
    assert setup.writer.hops_in_use().tolist() == [9]


def test_sources_are_the_peers_choice_and_cannot_use_up_their_numbers() -> None:
    setup = Setup(1)
    for number in range(2 * SOURCES_MAX):
        source = f"source-{number}"
        assert setup.put(source, (POOL[5], CLIENTS[0])).applied == 1
        assert setup.writer.source_of(np.array([setup.slot(POOL[5])], np.uint32)) == [source]
        assert setup.writer.apply(source, removals(POOL[5]), 100).applied == 1


def test_sources_that_own_bindings_are_not_forgotten() -> None:
    pool = IPv4Network("203.0.112.0/23")
    setup = Setup(300, pool)
    for number in range(SOURCES_MAX):
        assert setup.put(f"source-{number}", (pool[number], CLIENTS[0])).applied == 1
    with pytest.raises(DstmError, match="more than 255 sources"):
        setup.put("one more", (pool[300], CLIENTS[1]))
    assert setup.writer.bound == SOURCES_MAX
    assert setup.writer.owned_by("source-0") == 1
    setup.writer.apply("source-7", removals(pool[7]), 100)
    assert setup.put("one more", (pool[300], CLIENTS[1])).applied == 1
    assert setup.writer.owned_by("source-8") == 1
