"""Looking up the port sets of shared addresses (RFC 7597 section 5.1; rules R2, R12, R25, R27).

A port of 16 bits is `A | PSID | j`: the offset A of a bits, the PSID of k bits, the rest. Where a
is not 0, ports whose A is 0 are in no set: with a = 6 that is 0 to 1023.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dstmrouter.pipeline import portkeys
from dstmrouter.pipeline.bindings import ROW_SIZE, RowKind
from dstmrouter.pipeline.decide import alike, any_of
from dstmrouter.pipeline.memory import pick
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

PORT_BITS: Final = 16
_SHARED: Final = constant(RowKind.SHARED, np.uint8)
_SHARED_KIND: Final = int(RowKind.SHARED)
_OPAQUE: Final = f"V{ROW_SIZE}"


class Found(NamedTuple):
    """What n packets found in the binding table."""

    rows: Records  # copies, dtype ROW
    numbers: npt.NDArray[np.uint32]  # of those rows; they mean something where a row is alive
    alike: bool  # all are of one kind and have the same hop and tep, which is usual; may be False


class PortSets:
    """Finds the rows of port sets; holds views, and what `told` has for the time being."""

    def __init__(self, memory: FrameMemory, bindings: BindingTable) -> None:
        self._memory = memory
        self._bindings = bindings
        self._told_at: Index = np.zeros(0, np.intp)
        self._told: npt.NDArray[np.uint32] = np.zeros(0, np.uint32)

    @contextlib.contextmanager
    def told(self, at: Index, ports: npt.NDArray[np.uint32]) -> Iterator[None]:
        """Within the block, let the fragments whose IPv4 headers are at `at` have these ports.

        The source port is the upper half. All other fragments of shared addresses have none.
        """
        order = np.argsort(at)
        self._told_at, self._told = at[order], ports[order]
        try:
            yield
        finally:
            self._told_at, self._told = self._told_at[:0], self._told[:0]

    def look_up(self, packets: Inner, side: portkeys.Side) -> Records:
        """The rows that speak of the addresses of packets on one side; shape (n,), dtype ROW.

        Copies, in which port sets stand for their shared addresses. What has none has a kind that
        says why, and is over (`expires` 0), as all is that is not bound.
        """
        return self.find(packets, side).rows

    def find(self, packets: Inner, side: portkeys.Side) -> Found:
        """As `look_up`, and the numbers of those rows."""
        addresses = packets.dst if side is portkeys.Side.DST else packets.src
        numbers = self._bindings.slots.take(self._bindings.slot_of(addresses))
        rows = self._bindings.numbered(numbers)
        kinds = rows["kind"]
        if alike(rows["alike"]) and kinds.item(0) != _SHARED_KIND:
            return Found(rows, numbers, alike=True)
        at = np.flatnonzero(kinds == _SHARED)
        if len(at):
            self._find_sets(rows, numbers, at, packets.take(at), side)
        return Found(rows, numbers, alike=False)

    def _find_sets(
        self,
        rows: Records,
        numbers: npt.NDArray[np.uint32],
        at: Index,
        packets: Inner,
        side: portkeys.Side,
    ) -> None:
        """Replace the rows at `at`, which are SHARED, and their numbers; `packets` are theirs."""
        keys = portkeys.of(self._memory, packets, side)
        if len(self._told):
            self._tell(packets.at, keys, side)
        numbers[at] = self._resolve(rows, at, keys)

    def _tell(self, at: Index, keys: portkeys.Keys, side: portkeys.Side) -> None:
        """Give the fragments the keys that `told` has for them."""
        found = np.searchsorted(self._told_at, at)
        known = self._told_at.take(found, mode="clip") == at
        known &= keys.why == RowKind.PIECE
        keys.port[known] = portkeys.of_pair(self._told[found[known]], side)
        keys.why[known] = portkeys.FINE

    def look_up_quoted(self, packets: Inner) -> Records:
        """As `look_up`, by the destinations of packets that went to clients and came back quoted.

        There are `total_len` octets of each.
        """
        rows = self._bindings.look_up(packets.dst)
        shared = rows["kind"] == _SHARED
        if any_of(shared):
            at = np.flatnonzero(shared)
            quoted = packets.at[at], packets.total_len[at], packets.dst[at]
            self._resolve(rows, at, portkeys.of_quoted(self._memory, *quoted, portkeys.Side.SRC))
        return rows

    def _resolve(self, rows: Records, at: Index, keys: portkeys.Keys) -> npt.NDArray[np.uint32]:
        """Replace the rows of shared addresses at `at` by those of the port sets of `keys`.

        Returns the numbers of these.
        """
        address = pick(rows, at)
        port, why = keys
        offset, length = address["psid_offset"].astype(np.int64), address["psid_len"]
        rest = PORT_BITS - offset - length
        psid = port >> rest & (1 << length.astype(np.int64)) - 1
        numbers: npt.NDArray[np.uint32]
        numbers = self._bindings.slots.take(address["base"] + psid.astype(np.uint32))
        found = self._bindings.numbered(numbers)
        excluded = (offset > 0) & (port >> (PORT_BITS - offset) == 0)
        nobody = excluded | (found["kind"] != RowKind.BOUND)
        why[(why == portkeys.FINE) & nobody] = RowKind.NO_SET
        lost = why != portkeys.FINE
        found["kind"] = why
        found["expires"][lost] = 0
        rows.view(_OPAQUE)[at] = found.view(_OPAQUE)
        return numbers
