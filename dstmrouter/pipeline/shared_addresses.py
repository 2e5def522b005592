"""The writer's part for shared addresses: their rows, the slots of their port sets, their shapes.

The *shape* of an address is how its ports are divided, the same for all who share it (RFC 7597
section 5.1): `psid_offset << 8 | psid_len`; WHOLE for an address that is one client's, UNBOUND for
one that is nobody's. An address takes the shape of the first port set that is put, and is UNBOUND
again when the last one has gone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.bindings import FIXED_ROWS, ROW, BindingTable, RowKind

if TYPE_CHECKING:
    from dstmrouter.pipeline.spare import Spare

UNBOUND: Final = -1
WHOLE: Final = 0
NOWHERE: Final = 0  # a slot of block 0: never bound
LEN_MASK: Final = 0xFF
_OFFSET_SHIFT: Final = 8


@dataclasses.dataclass(slots=True)
class Wishes:
    """Port sets or whole addresses to be bound; columns of n."""

    slots: npt.NDArray[np.uint32]  # of the addresses
    ipv4: npt.NDArray[np.uint32]
    shapes: npt.NDArray[np.int32]
    psids: npt.NDArray[np.uint16]


class SharedAddresses:
    """Which addresses of a table are shared, and among how many; private to the writer."""

    def __init__(self, table: BindingTable, spare: Spare) -> None:
        self._table = table
        self._spare = spare
        self._sharers = np.zeros(table.first_set_slot, np.uint32)  # bound port sets, by address

    def places(
        self, slots: npt.NDArray[np.uint32], psids: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.uint32]:
        """The slots of port sets of addresses as those are shared now; NOWHERE if they are not."""
        rows = self._table.rows_of(slots)
        shared = rows["kind"] == RowKind.SHARED
        if not np.count_nonzero(shared):
            return np.where(psids == 0, slots, NOWHERE).astype(np.uint32)
        sets = rows["base"] + psids.astype(np.uint32)
        beyond = psids >> rows["psid_len"].astype(np.uint16) != 0
        whole = np.where(psids == 0, slots, NOWHERE)
        return np.where(shared, np.where(beyond, NOWHERE, sets), whole).astype(np.uint32)

    def shapes(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """The shapes of addresses now."""
        rows = self._table.rows_of(slots)
        shapes = shape_of(rows["psid_offset"], rows["psid_len"])
        shapes[rows["kind"] == RowKind.BOUND] = WHOLE
        shapes[rows["kind"] < RowKind.BOUND] = UNBOUND
        return shapes

    def places_within(self, slot: int) -> npt.NDArray[np.uint32]:
        """All slots that may be bound of one address as it is now."""
        row = self._table.rows[self._table.slots[slot]]
        if row["kind"] != RowKind.SHARED:
            return np.array([slot], np.uint32)
        base = int(row["base"])
        return np.arange(base, base + (1 << int(row["psid_len"])), dtype=np.uint32)

    def share(self, wishes: Wishes) -> int:
        """Share UNBOUND addresses, each named once, as they are wished for; return how many.

        The rest, from there on, found no room.
        """
        rows = self._spare.take_rows(len(wishes.slots))
        bases = np.zeros(len(rows), np.uint32)
        lengths = wishes.shapes & LEN_MASK
        done = 0
        for order in lengths[: len(rows)].tolist():
            base = self._spare.take_block(order)
            if base is None:
                break
            bases[done] = base
            done += 1
        self._spare.give_back(rows[done:])
        shared = np.zeros(done, ROW)
        shared["base"], shared["ipv4"] = bases[:done], wishes.ipv4[:done]
        shared["psid_len"] = lengths[:done]
        shared["psid_offset"] = wishes.shapes[:done] >> _OFFSET_SHIFT
        shared["kind"] = RowKind.SHARED
        self._table.rows[rows[:done]] = shared
        self._table.slots[wishes.slots[:done]] = rows[:done]  # publish
        self._table.divided[wishes.slots[:done]] = self._table.divisions(shared)
        self._table.shared[0] += done
        return done

    def joined(self, slots: npt.NDArray[np.uint32]) -> None:
        """Port sets of the addresses `slots` are bound now, that were not."""
        np.add.at(self._sharers, slots, 1)

    def left(self, places: npt.NDArray[np.uint32]) -> None:
        """The port sets `places` are about to be unbound, and addresses that were all theirs."""
        rows = self._table.rows_of(places)
        of_sets = (places >= self._table.first_set_slot) & (rows["kind"] == RowKind.BOUND)
        if np.count_nonzero(of_sets):
            slots = self._table.slot_of(rows["ipv4"][of_sets])
            np.subtract.at(self._sharers, slots, 1)
            self.unshare(slots)

    def unshare(self, slots: npt.NDArray[np.uint32]) -> None:
        """Make those addresses UNBOUND that are shared by nobody."""
        slots = np.unique(slots[self._sharers[slots] == 0])
        numbers = self._table.slots[slots]
        rows = self._table.rows[numbers]
        shared = np.flatnonzero(rows["kind"] == RowKind.SHARED)
        self._table.divided[slots[shared]] = 0  # before the row goes, and long before its block
        self._table.slots[slots[shared]] = RowKind.UNBOUND
        self._table.shared[0] -= len(shared)
        bases, orders = rows["base"][shared].tolist(), rows["psid_len"][shared].tolist()
        self._spare.retire(numbers[shared], list(zip(bases, orders, strict=True)))

    def is_set(self, places: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Which slots are those of port sets."""
        of_sets: npt.NDArray[np.bool_] = places >= self._table.first_set_slot
        return of_sets


def shape_of(
    psid_offset: npt.NDArray[np.uint8], psid_len: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int32]:
    """Shapes by their two parts; the offset of a whole address means nothing."""
    shapes = psid_offset.astype(np.int32) << _OFFSET_SHIFT | psid_len
    shapes[psid_len == 0] = WHOLE
    return shapes


assert RowKind.UNBOUND < FIXED_ROWS
