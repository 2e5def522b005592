"""Which changes may come into the binding table at all, and why the others may not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import OP_PUT, OP_REMOVE, BindingColumns, Words6
from dstmrouter.pipeline.bindings import BLOCK, BindingTable, RowKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv6Address

    from dstmrouter.pipeline.memory import Index

PORT_BITS: Final = 16  # RFC 7597 section 5.1: a + k <= 16


@dataclasses.dataclass(slots=True)
class Applied:
    """What became of a set of changes."""

    applied: int = 0
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Changes that were not made."""
        return sum(self.reasons.values())

    def refuse(self, mask: npt.NDArray[np.bool_], reason: str) -> None:
        """Count the rows of `mask` under `reason`."""
        count = int(np.count_nonzero(mask))
        if count:
            self.reasons[reason] = self.reasons.get(reason, 0) + count


class Acceptance:
    """What can be said of a change without looking at what is bound; knows tep6 and pools."""

    def __init__(self, table: BindingTable, tep6: Sequence[IPv6Address]) -> None:
        self._table = table
        self._tep6 = frozenset(tep6)

    def admit(
        self,
        changes: BindingColumns,
        at: Index,
        slots: npt.NDArray[np.uint32],
        foreign: npt.NDArray[np.bool_],
        result: Applied,
    ) -> npt.NDArray[np.bool_]:
        """Refuse what must not be in the table; the mask of what may, shape (len(at),).

        `slots` are those of the addresses of `changes` at `at`; `foreign` are bound by others.
        """
        kinds = self._table.rows["kind"][self._table.slots[slots]]
        put = changes.op[at] == OP_PUT
        length, offset = changes.psid_len[at].astype(np.uint16), changes.psid_offset[at]
        checks = (
            ((slots < BLOCK) | (kinds == RowKind.NOT_POOL), "address in no pool of this router"),
            (kinds == RowKind.LOCAL, "address is tep4"),
            (foreign, "address bound by another source"),
            (put & ~self._known_tep(changes)[changes.tep[at]], "tep6 not of this router"),
            (
                put & ~self._usable_client(changes.client6[at]),
                "client6 is not a usable unicast address",
            ),
            (put & (offset + length > PORT_BITS), "psid_offset + psid_len is more than 16 bits"),
            (put & (changes.psid[at] >> length != 0), "psid has more than psid_len bits"),
            (changes.op[at] > max(OP_PUT, OP_REMOVE), "operation unknown"),
        )
        keep = np.ones(len(at), np.bool_)
        for mask, reason in checks:
            result.refuse(mask & keep, reason)
            keep &= ~mask
        return keep

    def _known_tep(self, changes: BindingColumns) -> npt.NDArray[np.bool_]:
        known = np.zeros(256, np.bool_)
        known[: len(changes.tep6)] = [address in self._tep6 for address in changes.tep6]
        return known

    def _usable_client(self, client6: Words6) -> npt.NDArray[np.bool_]:
        """No multicast, link-local, unspecified or loopback address and none of ours (R10)."""
        first = (client6[:, 0] & np.uint64(0xFF)).astype(np.uint8)
        second = ((client6[:, 0] >> np.uint64(8)) & np.uint64(0xFF)).astype(np.uint8)
        usable: npt.NDArray[np.bool_] = (first != 0xFF) & ~(
            (first == 0xFE) & (second & 0xC0 == 0x80)
        )
        usable &= (client6[:, 0] != 0) | (client6[:, 1] & np.uint64(0xFFFFFFFF) != 0)  # ::/96
        for address in self._tep6:
            ours = np.frombuffer(address.packed, "<u8")
            usable &= (client6[:, 0] != ours[0]) | (client6[:, 1] != ours[1])
        return usable
