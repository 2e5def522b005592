"""The one writer of the binding table: applies changes as columns, and reuses rows when it is safe.

Contract with the readers: see `dstmrouter.pipeline.bindings`. Order of a change: fresh rows are
filled, then published by their slots, then the old rows are retired with a snapshot of the workers'
turns; `reclaim` frees them when all workers have passed. x86-64 keeps the stores in this order.

Every binding belongs to the source that put it (a server of the feed, or a pusher). A source can
neither change nor remove another's (RFC 7596 section 7: provisioning mechanisms should have
disjoint pools).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import LIFETIME_FOREVER, OP_PUT, OP_REMOVE, BindingColumns, Words6
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.bindings import BLOCK, FIXED_ROWS, FOREVER, ROW, BindingTable, RowKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv6Address

    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.quiescence import Snapshot, Turns

NO_OWNER: Final = 0
SOURCES_MAX: Final = 255  # owners are one octet, and one of its values is NO_OWNER


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


class BindingWriter:
    """Keeps free rows, owners and retired rows; all of it private to the supervisor."""

    def __init__(
        self,
        table: BindingTable,
        turns: Turns,
        tep6: Sequence[IPv6Address],
        hops_of: Callable[[Words6], npt.NDArray[np.uint32]],
    ) -> None:
        self._table = table
        self._turns = turns
        self._tep6 = {address: number for number, address in enumerate(tep6)}
        self._hops_of = hops_of
        self._free: npt.NDArray[np.uint32]
        self._free = np.arange(len(table.rows) - 1, FIXED_ROWS - 1, -1, dtype=np.uint32)
        self._free_count = len(self._free)
        self._retired: deque[tuple[Snapshot, npt.NDArray[np.uint32]]] = deque()
        self._owners = np.full(len(table.slots), NO_OWNER, np.uint8)
        self._ends = np.zeros(len(table.slots), np.uint32)  # of whatever is owned, by slot
        self._sources: dict[str, int] = {}
        self.bound = 0
        self.on_bound: Callable[[Words6], None] = lambda _: None
        """Called with the clients of bindings, before these are published."""

    # Rows -------------------------------------------------------------------------------------

    def reclaim(self) -> int:
        """Free the retired rows that no worker can hold any more; return how many still wait."""
        while self._retired and self._turns.passed(self._retired[0][0]):
            _, rows = self._retired.popleft()
            self._free[self._free_count : self._free_count + len(rows)] = rows
            self._free_count += len(rows)
        return sum(len(rows) for _, rows in self._retired)

    def _retire(self, rows: npt.NDArray[np.uint32]) -> None:
        rows = rows[rows >= FIXED_ROWS]
        if len(rows):
            self._retired.append((self._turns.snapshot(), rows))

    # Changes ----------------------------------------------------------------------------------

    def apply(self, source: str, changes: BindingColumns, now_s: int) -> Applied:
        """Put and remove bindings of `source`; `now_s` is the router's clock, in seconds.

        The last change of an address wins. Puts that change nothing but the lifetime keep their
        row. Raises DstmError, and changes nothing, for a source more than can be told apart.
        """
        self.reclaim()
        result = Applied()
        owner = self._owner(source)
        last = _last_of_each(changes.ipv4)
        result.applied += len(changes) - len(last)  # overtaken within this very set
        slots = self._table.slot_of(changes.ipv4[last])
        keep = self._admit(changes, last, slots, owner, result)
        last, slots = last[keep], slots[keep]
        put = changes.op[last] == OP_PUT
        self._remove(slots[~put])
        result.applied += int(np.count_nonzero(~put))
        self._put(changes, last[put], slots[put], owner, now_s, result)
        return result

    def replace(self, source: str, slots_seen: npt.NDArray[np.uint32]) -> int:
        """End a snapshot: remove what `source` owns and did not mention; return how many."""
        gone = self._owners == self._owner(source)
        gone[slots_seen] = False
        slots = np.flatnonzero(gone).astype(np.uint32)
        self._remove(slots)
        return len(slots)

    def expire(self, now_s: int) -> int:
        """Remove the bindings that ended at or before `now_s`; return how many."""
        slots = np.flatnonzero(self._owners).astype(np.uint32)
        over = self._ends[slots] <= now_s
        self._remove(slots[over])
        return int(np.count_nonzero(over))

    def resolve_again(self) -> None:
        """Ask for the next hop of every binding anew, after IPv6 routes have changed."""
        rows = self._table.slots[np.flatnonzero(self._owners)]
        if len(rows):
            self._table.rows["hop"][rows] = self._hops_of(self._table.rows["client6"][rows])

    def clients(self) -> Words6:
        """The client6 of every binding, shape (n, 2)."""
        rows = self._table.slots[np.flatnonzero(self._owners)]
        client6: Words6 = self._table.rows["client6"][rows]
        return client6

    def hops_in_use(self) -> npt.NDArray[np.uint32]:
        """Next hops that bindings name, each once."""
        rows = self._table.slots[np.flatnonzero(self._owners)]
        hops: npt.NDArray[np.uint32] = np.unique(self._table.rows["hop"][rows])
        return hops

    def ends(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """When the bindings of `slots` end, on the router's clock; FOREVER = never."""
        return self._ends[slots]

    def source_of(self, slots: npt.NDArray[np.uint32]) -> list[str]:
        """Names of the sources that own `slots`; empty where nobody does."""
        names = {number: name for name, number in self._sources.items()}
        return [names.get(int(number), "") for number in self._owners[slots]]

    def owned_by(self, source: str) -> int:
        """How many bindings belong to `source`."""
        return int(np.count_nonzero(self._owners == self._owner(source)))

    def bound_slots(self) -> npt.NDArray[np.uint32]:
        """Slots of all bindings, ascending within a /24."""
        return np.flatnonzero(self._owners).astype(np.uint32)

    # Inside -----------------------------------------------------------------------------------

    def _owner(self, source: str) -> int:
        """Number of a source. Raises DstmError if SOURCES_MAX others own bindings."""
        if source not in self._sources:
            if len(self._sources) == SOURCES_MAX:  # names are the peers' choice: forget idle ones
                busy = set(np.unique(self._owners).tolist())
                self._sources = {name: n for name, n in self._sources.items() if n in busy}
            free = set(range(1, SOURCES_MAX + 1)).difference(self._sources.values())
            if not free:
                raise DstmError(f"more than {SOURCES_MAX} sources of bindings")
            self._sources[source] = min(free)
        return self._sources[source]

    def _admit(
        self,
        changes: BindingColumns,
        at: Index,
        slots: npt.NDArray[np.uint32],
        owner: int,
        result: Applied,
    ) -> npt.NDArray[np.bool_]:
        """Refuse what must not be in the table; the mask of what may, shape (len(at),)."""
        kinds = self._table.rows["kind"][self._table.slots[slots]]
        owners = self._owners[slots]
        put = changes.op[at] == OP_PUT
        checks = (
            ((slots < BLOCK) | (kinds == RowKind.NOT_POOL), "address in no pool of this router"),
            (kinds == RowKind.LOCAL, "address is tep4"),
            ((owners != NO_OWNER) & (owners != owner), "address bound by another source"),
            (put & ~self._known_tep(changes)[changes.tep[at]], "tep6 not of this router"),
            (
                put & ~self._usable_client(changes.client6[at]),
                "client6 is not a usable unicast address",
            ),
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

    def _remove(self, slots: npt.NDArray[np.uint32]) -> None:
        old = self._table.slots[slots]
        self._table.slots[slots] = RowKind.UNBOUND
        self._owners[slots] = NO_OWNER
        self.bound -= int(np.count_nonzero(old >= FIXED_ROWS))
        self._retire(old)

    def _put(
        self,
        changes: BindingColumns,
        at: Index,
        slots: npt.NDArray[np.uint32],
        owner: int,
        now_s: int,
        result: Applied,
    ) -> None:
        if not len(at):
            return
        wanted = self._rows_for(changes, at)
        ends = _ends(changes.lifetime_s[at], now_s)
        wanted["expires"] = np.where(wanted["kind"] == RowKind.BOUND, ends, 0)
        old = self._table.slots[slots]
        same = self._same_but_lifetime(wanted, old)
        self._table.rows["expires"][old[same]] = wanted["expires"][same]
        self._ends[slots[same]] = ends[same]
        ends = ends[~same]
        wanted, slots, old = wanted[~same], slots[~same], old[~same]
        n = min(len(wanted), self._free_count)
        fresh = self._free[self._free_count - n : self._free_count].copy()
        self._free_count -= n
        wanted["hop"][:n] = self._hops_of(wanted["client6"][:n])
        self.on_bound(wanted["client6"][:n])
        self._table.rows[fresh] = wanted[:n]
        self._table.slots[slots[:n]] = fresh  # publish: after the rows are complete
        self._owners[slots[:n]] = owner
        self._ends[slots[:n]] = ends[:n]
        self.bound += int(np.count_nonzero(old[:n] < FIXED_ROWS))
        self._retire(old[:n])
        result.applied += int(np.count_nonzero(same)) + n
        if n < len(wanted):
            result.reasons["table full"] = len(wanted) - n

    def _rows_for(self, changes: BindingColumns, at: Index) -> npt.NDArray[np.void]:
        tep_numbers = np.zeros(256, np.uint8)
        tep_numbers[: len(changes.tep6)] = [self._tep6.get(a, 0) for a in changes.tep6]
        rows = np.zeros(len(at), ROW)
        for name in ("client6", "ipv4", "psid_offset", "psid_len"):
            rows[name] = getattr(changes, name)[at]
        rows["tep"] = tep_numbers[changes.tep[at]]
        rows["kind"] = np.where(rows["psid_len"] > 0, RowKind.SHARED, RowKind.BOUND)
        return rows

    def _same_but_lifetime(
        self, wanted: npt.NDArray[np.void], old: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.bool_]:
        now = self._table.rows[old]
        same: npt.NDArray[np.bool_] = (now["client6"] == wanted["client6"]).all(axis=1)
        for name in ("tep", "kind", "psid_offset", "psid_len"):
            same &= now[name] == wanted[name]
        return same


def _ends(lifetime_s: npt.NDArray[np.uint32], now_s: int) -> npt.NDArray[np.uint32]:
    """When lifetimes that begin now end, on the router's clock; FOREVER = never."""
    ends = np.minimum(now_s + lifetime_s.astype(np.int64), FOREVER - 1)
    return np.where(lifetime_s == LIFETIME_FOREVER, FOREVER, ends).astype(np.uint32)


def _last_of_each(ipv4: npt.NDArray[np.uint32]) -> Index:
    """Positions of the last mention of every address, in no particular order."""
    _, first_from_behind = np.unique(ipv4[::-1], return_index=True)
    return (len(ipv4) - 1 - first_from_behind).astype(np.intp)
