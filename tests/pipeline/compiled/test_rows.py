"""The compiled look-up against the one of numpy."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.jit.functions import address
from dstmrouter.pipeline.bindings import ROW_SIZE, RowKind
from dstmrouter.pipeline.compiled import packet, rows
from dstmrouter.pipeline.compiled.views import Views, World
from dstmrouter.pipeline.rules import TunnelRules
from tests import oracle_ports
from tests.pipeline import worlds
from tests.pipeline.built import tables
from tests.pipeline.packets import ipv4, ports
from tests.pipeline.port_set_changes import Wish, columns
from tests.pipeline.test_binding_writer import CLIENTS, POOL, Setup

U = np.uint64
WORLD = worlds.world()
TABLES = tables(WORLD)
VIEWS = Views(bytearray(4096), TABLES, TunnelRules(tep6=WORLD.rules.tep6))
SEEN = World(*(U(number) for number in VIEWS.numbers))


def row_at(where: np.uint64) -> np.void:
    number, rest = divmod(int(where) - address(TABLES.bindings.rows).item(), ROW_SIZE)
    assert rest == 0
    row: np.void = TABLES.bindings.rows[number]
    return row


def row_of(address: int) -> np.uint64:
    return rows.row_in(SEEN, rows.slot_of(SEEN, U(address)))


def test_every_address_has_the_row_that_numpy_finds() -> None:
    asked = [int(a) for pool in WORLD.pools for a in pool] + [0, 0xC0000201, 0xFFFFFFFF]
    expected = TABLES.bindings.look_up(np.array(asked, np.uint32))
    found = [row_at(row_of(a)) for a in asked]
    assert [row.tobytes() for row in found] == [row.tobytes() for row in expected]


def test_what_is_bound_ends_with_its_second() -> None:
    row = row_of(int(worlds.leased(2)))
    times = [worlds.NOW_S, worlds.NOW_S + 1]
    assert [bool(rows.is_alive(row, U(now))) for now in times] == [True, False]


@pytest.mark.parametrize("number", [5, 18, 19, 20])
def test_ports_lead_to_port_sets(number: int) -> None:
    shared = WORLD.shared[worlds.leased(number)]
    slot = rows.slot_of(SEEN, U(int(worlds.leased(number))))
    for port in worlds.PORTS:
        octets = np.frombuffer(ipv4(payload=struct.pack("!HH", port, 1)), np.uint8)
        found = rows.slot_of_set(SEEN, slot, address(octets), packet.SRC_PORT_AT)
        psid = oracle_ports.psid_of(port, shared.offset, shared.length)
        if psid is None:
            assert found == slot, "an excluded port"
        elif psid in shared.holders:
            assert (
                row_at(rows.row_in(SEEN, found))["client6"].tobytes()
                == shared.holders[psid].client6.packed
            )
        else:
            assert row_at(rows.row_in(SEEN, found))["kind"] == RowKind.UNBOUND


@pytest.mark.parametrize(
    "octets",
    [
        ipv4(payload=ports(1, 1232), protocol=1),
        ipv4(payload=ports(1, 1232), protocol=47),
        ipv4(payload=ports(1, 1232), fragment=0x2000),
        ipv4(payload=ports(1, 1232), fragment=3),
        ipv4(payload=b"\x00\x01\x04"),
    ],
)
def test_what_has_no_ports_leads_nowhere(octets: bytes) -> None:
    slot = rows.slot_of(SEEN, U(int(worlds.leased(5))))
    at = address(np.frombuffer(octets, np.uint8))
    assert rows.slot_of_set(SEEN, slot, at, packet.DST_PORT_AT) == slot
    assert not rows.is_alive(rows.row_in(SEEN, slot), U(0))


def test_what_is_not_shared_has_no_sets() -> None:
    slot = rows.slot_of(SEEN, U(int(worlds.leased(2))))
    octets = np.frombuffer(ipv4(payload=ports(53, 1232)), np.uint8)
    assert rows.slot_of_set(SEEN, slot, address(octets), packet.DST_PORT_AT) == slot


@given(shape=st.integers(1, 16).flatmap(lambda k: st.tuples(st.integers(0, 16 - k), st.just(k))))
def test_every_shape_finds_the_set_that_numpy_finds(shape: tuple[int, int]) -> None:
    offset, length = shape
    setup = Setup(8, set_slots=3 << length)
    for n in (3, 4, 5):  # so that one begins further on
        setup.writer.apply("server", columns(Wish(POOL[n], 0, CLIENTS[n], shape)), 0)
    row = setup.row(POOL[5])
    slot = U(setup.slot(POOL[5]))
    table = setup.table
    seen = SEEN._replace(
        slots=address(table.slots),
        divided=address(table.divided),
        set_slots=address(table.slots[table.first_set_slot :]),
    )
    at_slot = seen.slots + slot * U(4)
    for port in (0, 1023, 1024, 5000, 32767, 32768, 65535, (1 << 16 - offset) - 1):
        octets = np.frombuffer(ipv4(payload=struct.pack("!HH", 9, port)), np.uint8)
        psid = oracle_ports.psid_of(port, offset, length)
        found = rows.slot_of_set(seen, at_slot, address(octets), packet.DST_PORT_AT)
        place = slot if psid is None else int(row["base"]) + psid
        assert found == seen.slots + U(place) * U(4)
