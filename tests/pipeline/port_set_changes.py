"""Changes of port sets for tests of the writer, and what a table says of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.binding import OP_REMOVE, BindingColumns, address6
from dstmrouter.pipeline.bindings import RowKind
from tests.pipeline.test_binding_writer import puts

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from tests.pipeline.test_binding_writer import Setup

WHOLE = (0, 0)


@dataclasses.dataclass(frozen=True)
class Wish:
    """A binding: `shape` is offset and length of the PSID."""

    address: IPv4Address
    psid: int
    client6: IPv6Address
    shape: tuple[int, int] = (0, 2)


def columns(*wishes: Wish, lifetime: int = 60) -> BindingColumns:
    made = puts(*((wish.address, wish.client6) for wish in wishes), lifetime=lifetime)
    made.psid_offset[:] = [wish.shape[0] for wish in wishes]
    made.psid_len[:] = [wish.shape[1] for wish in wishes]
    made.psid[:] = [wish.psid for wish in wishes]
    return made


def gone(*wishes: Wish) -> BindingColumns:
    made = columns(*wishes)
    return dataclasses.replace(made, op=np.full(len(made), OP_REMOVE, np.uint8))


def found(setup: Setup, address: IPv4Address) -> dict[int, IPv6Address] | None:
    """Who holds which PSID of an address, as a reader sees it; None if nobody has anything."""
    row = setup.row(address)
    if row["kind"] == RowKind.UNBOUND:
        return None
    if row["kind"] == RowKind.BOUND:
        return {0: address6(row["client6"])}
    base = int(row["base"])
    slots = np.arange(base, base + (1 << int(row["psid_len"])), dtype=np.uint32)
    rows = setup.table.rows_of(slots)
    assert set(rows["kind"].tolist()) <= {RowKind.UNBOUND, RowKind.BOUND}
    bound = rows["kind"] == RowKind.BOUND
    assert (rows["ipv4"][bound] == int(address)).all()
    assert (rows["psid_len"][bound] == row["psid_len"]).all()
    assert (rows["psid_offset"][bound] == row["psid_offset"]).all()
    return {int(n): address6(rows["client6"][n]) for n in np.flatnonzero(bound)}
