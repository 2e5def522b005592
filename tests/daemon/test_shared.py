from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dstmrouter.daemon.shared import SharedTables, Sizes
from dstmrouter.pipeline.hops import FIXED_HOPS, HopState
from dstmrouter.pipeline.verdict import Verdict
from tests.daemon.plans import SIZES

if TYPE_CHECKING:
    import numpy.typing as npt


def test_another_mapping_sees_every_table() -> None:
    one = SharedTables.create(SIZES)
    other = SharedTables(one.fd, SIZES)
    one.tables.hops.set(FIXED_HOPS, b"abcdef", 3, HopState.RESOLVED)
    one.tables.ports.set(1, mac=b"ABCDEF", mtu=1500, vlan=7)
    one.noticeboard.post(1, {"pool": 1})
    one.counters.count(1, np.array([Verdict.DROP_TTL], np.uint8), np.array([60]))
    one.turns.begin(1)
    one.tables.bindings.slots[5] = 9
    assert bytes(other.tables.hops.take(np.array([FIXED_HOPS]))["mac"][0]) == b"abcdef"
    seen = other.tables.ports.read()
    assert seen is not None
    assert int(seen[1]["vlan"][1]) == 7
    assert other.noticeboard.read(1) == {"pool": 1}
    assert other.counters.totals()[:, Verdict.DROP_TTL].tolist() == [1, 60]
    assert other.turns.snapshot().tolist() == [0, 1]
    assert other.tables.bindings.slots[5] == 9


def test_tables_do_not_overlap() -> None:
    """What fills one table to its last octet changes no other."""
    shared = SharedTables.create(SIZES)
    tables = shared.tables
    arrays: list[npt.NDArray[Any]] = [
        shared.turns._counters,
        shared.noticeboard._notices,
        shared.counters.values,
        tables.hops.words,
        tables.bindings.directory,
        tables.bindings.slots,
        tables.bindings.rows.view(np.uint8),
    ]
    for number, array in enumerate(arrays, start=1):
        array[...] = number
    for number, array in enumerate(arrays, start=1):
        assert (array == number).all()


def test_memory_has_no_name_and_is_not_inherited_by_chance() -> None:
    shared = SharedTables.create(SIZES)
    assert "memfd:dstm-router (deleted)" in os.readlink(f"/proc/self/fd/{shared.fd}")
    assert not os.get_inheritable(shared.fd)


@pytest.mark.parametrize(("leases", "rows"), [(16, 3 + 16 + 65536), (1 << 24, 3 + 9 * (1 << 21))])
def test_spare_rows_grow_with_the_table(leases: int, rows: int) -> None:
    assert Sizes(workers=1, blocks=1, leases=leases, hops=16, routes=16).rows == rows


def test_a_shared_address_has_a_row_besides_those_of_its_port_sets() -> None:
    sizes = Sizes(workers=1, blocks=1, leases=16, hops=16, routes=16, set_slots=32)
    assert sizes.rows == 3 + 16 + 65536 + 32 // 2


def test_a_million_leases_cost_memory_only_when_used() -> None:
    before = _resident_pages()
    SharedTables.create(
        Sizes(workers=1, blocks=4097, leases=1 << 20, hops=16, routes=16, set_slots=1 << 24)
    )
    assert _resident_pages() - before < 2048  # 8 MiB


def _resident_pages() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])
