"""Looking up the port sets of shared addresses (RFC 7597 section 5.1; rules R2, R12, R25, R27).

A port of 16 bits is `A | PSID | j`: the offset A of a bits, the PSID of k bits, the rest. Where a
is not 0, ports whose A is 0 are in no set: with a = 6 that is 0 to 1023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import portkeys
from dstmrouter.pipeline.bindings import ROW_SIZE, RowKind
from dstmrouter.pipeline.memory import pick
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Records

PORT_BITS: Final = 16
_SHARED: Final = constant(RowKind.SHARED, np.uint8)
_OPAQUE: Final = f"V{ROW_SIZE}"


class PortSets:
    """Finds the rows of port sets; holds views only."""

    def __init__(self, memory: FrameMemory, bindings: BindingTable) -> None:
        self._memory = memory
        self._bindings = bindings

    def look_up(self, packets: Inner, side: portkeys.Side) -> Records:
        """The rows that speak of the addresses of packets on one side; shape (n,), dtype ROW.

        Copies, in which port sets stand for their shared addresses. What has none has a kind that
        says why, and is over (`expires` 0), as all is that is not bound.
        """
        rows = self._bindings.look_up(packets.dst if side is portkeys.Side.DST else packets.src)
        shared = rows["kind"] == _SHARED
        if np.count_nonzero(shared):
            self._resolve(rows, np.flatnonzero(shared), packets, side)
        return rows

    def _resolve(
        self, rows: Records, at: npt.NDArray[np.intp], packets: Inner, side: portkeys.Side
    ) -> None:
        """Replace the rows of shared addresses at `at` by those of port sets."""
        address = pick(rows, at)
        port, why = portkeys.of(self._memory, packets.take(at), side)
        offset, length = address["psid_offset"].astype(np.int64), address["psid_len"]
        rest = PORT_BITS - offset - length
        psid = port >> rest & (1 << length.astype(np.int64)) - 1
        found = self._bindings.rows_of(address["base"] + psid.astype(np.uint32))
        excluded = (offset > 0) & (port >> (PORT_BITS - offset) == 0)
        nobody = excluded | (found["kind"] != RowKind.BOUND)
        why[(why == portkeys.FINE) & nobody] = RowKind.NO_SET
        lost = why != portkeys.FINE
        found["kind"] = why
        found["expires"][lost] = 0
        rows.view(_OPAQUE)[at] = found.view(_OPAQUE)
