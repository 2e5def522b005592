"""What a Machine has counted for the bindings of its world, by names instead of row numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.binding import USAGE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from dstmrouter.pipeline.outcome import Tables
    from tests.oracle_usage import Key
    from tests.pipeline.worlds import World


def counted(world: World, tables: Tables) -> Counter[Key]:
    """All that is not 0. No row but those of bindings may have a record."""
    found: Counter[Key] = Counter()
    left = tables.usage.values.copy()
    for address, psid, row in rows(world, tables):
        record = tables.usage.sums(np.array([row], np.uint32))[0]
        found += Counter(
            {(address, psid, name): int(n) for name, n in zip(USAGE_FIELDS, record, strict=True)}
        )
        left[:, row] = 0
    assert not left.any()
    return found


def rows(world: World, tables: Tables) -> Iterator[tuple[IPv4Address, int | None, int]]:
    """Every binding, and the number of its row."""
    bindings = tables.bindings
    for address in world.bindings:
        yield address, None, int(bindings.slots[slot(tables, address)])
    for address, divided in world.shared.items():
        base = int(bindings.rows[bindings.slots[slot(tables, address)]]["base"])
        for psid in divided.holders:
            yield address, psid, int(bindings.slots[base + psid])


def slot(tables: Tables, address: IPv4Address) -> int:
    return int(tables.bindings.slot_of(np.array([int(address)], np.uint32))[0])
