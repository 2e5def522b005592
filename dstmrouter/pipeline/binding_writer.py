"""The one writer of the binding table: applies changes as columns, and reuses rows when it is safe.

Contract with the readers: see `dstmrouter.pipeline.bindings`. Order of a change: fresh rows are
filled, then published by their slots, then the old rows are retired with a snapshot of the workers'
turns; `reclaim` frees them when all workers have passed. x86-64 keeps the stores in this order.

Every binding belongs to the source that put it (a server of the feed, or a pusher). A source can
neither change nor remove another's (RFC 7596 section 7: provisioning mechanisms should have
disjoint pools).

A binding is named by its address and PSID (0 for a whole address); `slots` here are the slots of
addresses, `places` those of bindings, which for a port set is another one (`shared_addresses`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import LIFETIME_FOREVER, OP_PUT, BindingColumns, Words6
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.acceptance import PORT_BITS, Acceptance, Applied
from dstmrouter.pipeline.bindings import FOREVER, ROW, BindingTable, RowKind
from dstmrouter.pipeline.shape_change import Reshaper
from dstmrouter.pipeline.shared_addresses import SharedAddresses, Wishes, shape_of
from dstmrouter.pipeline.spare import Spare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv6Address

    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.quiescence import Turns

NO_OWNER: Final = 0
SOURCES_MAX: Final = 255  # owners are one octet, and one of its values is NO_OWNER


class BindingWriter:
    """Keeps owners and ends of bindings, and what can be used; all private to the supervisor."""

    def __init__(
        self,
        table: BindingTable,
        turns: Turns,
        tep6: Sequence[IPv6Address],
        hops_of: Callable[[Words6], npt.NDArray[np.uint32]],
    ) -> None:
        self._table = table
        self._tep6 = {address: number for number, address in enumerate(tep6)}
        self._hops_of = hops_of
        self.spare = Spare(table, turns)
        self._shared = SharedAddresses(table, self.spare)
        self._owners = np.zeros(len(table.slots), np.uint8)
        self._ends = np.zeros(len(table.slots), np.uint32)  # of whatever is owned
        self._acceptance = Acceptance(table, tep6)
        self._reshaper = Reshaper(self._shared, self._owners, self._remove)
        self._sources: dict[str, int] = {}
        self.bound = 0
        self.on_bound: Callable[[Words6], None] = lambda _: None
        """Called with the clients of bindings, before these are published."""
        self.on_unbound: Callable[[npt.NDArray[np.uint32]], None] = lambda _: None
        """Called with places, before what is bound there ends or is replaced."""

    def reclaim(self) -> int:
        """Free the retired rows that no worker can hold any more; return how many still wait."""
        return self.spare.reclaim()

    # Changes ----------------------------------------------------------------------------------

    def apply(
        self, source: str, changes: BindingColumns, now_s: int, *, displace: bool = False
    ) -> Applied:
        """Put and remove bindings of `source`; `now_s` is the router's clock, in seconds.

        The last change of a binding wins. Puts that change nothing but the lifetime keep their
        row. With `displace`, as for a snapshot, bindings of `source` give way to others that divide
        the ports of their address in another way; else it is those that are refused. Raises
        DstmError, and changes nothing, for a source more than can be told apart.
        """
        self.reclaim()
        result = Applied()
        owner = self._owner(source)
        last = _last_of_each(changes.ipv4, changes.psid)
        result.applied += len(changes) - len(last)  # overtaken within this very set
        slots = self._table.slot_of(changes.ipv4[last])
        holders = self._owners[self._shared.places(slots, changes.psid[last])]
        foreign = (holders != NO_OWNER) & (holders != owner)
        keep = self._acceptance.admit(changes, last, slots, foreign, result)
        last, slots = last[keep], slots[keep]
        put = changes.op[last] == OP_PUT
        self._remove(self._shared.places(slots[~put], changes.psid[last[~put]]))
        result.applied += int(np.count_nonzero(~put))
        last, slots = last[put], slots[put]
        shapes = shape_of(changes.psid_offset[last], changes.psid_len[last])
        wishes = Wishes(slots, changes.ipv4[last], shapes, changes.psid[last])
        bound, reasons = self._reshaper.make_way(wishes, last, owner, displace=displace)
        for reason, count in reasons.items():
            result.reasons[reason] = result.reasons.get(reason, 0) + count
        self._put(changes, last[bound], slots[bound], owner, now_s, result)
        return result

    def places(
        self, slots: npt.NDArray[np.uint32], psids: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.uint32]:
        """Where bindings are, by the slot of their address and PSID; 0 for what is not bound so."""
        return self._shared.places(slots, psids)

    def replace(self, source: str, seen: npt.NDArray[np.uint32]) -> int:
        """End a snapshot: remove what `source` owns and did not mention; return how many.

        `seen` are the places of what it mentioned.
        """
        gone = self._owners == self._owner(source)
        gone[seen] = False
        places = np.flatnonzero(gone).astype(np.uint32)
        self._remove(places)
        return len(places)

    def expire(self, now_s: int) -> int:
        """Remove the bindings that ended at or before `now_s`; return how many."""
        slots = self.bound_slots()
        over = self._ends[slots] <= now_s
        self._remove(slots[over])
        return int(np.count_nonzero(over))

    def resolve_again(self) -> None:
        """Ask for the next hop of every binding anew, after IPv6 routes have changed."""
        rows = self._table.slots[self.bound_slots()]
        if len(rows):
            self._table.rows["hop"][rows] = self._hops_of(self._table.rows["client6"][rows])

    def clients(self) -> Words6:
        """The client6 of every binding, shape (n, 2)."""
        rows = self._table.slots[self.bound_slots()]
        client6: Words6 = self._table.rows["client6"][rows]
        return client6

    def hops_in_use(self) -> npt.NDArray[np.uint32]:
        """Next hops that bindings name, each once."""
        rows = self._table.slots[self.bound_slots()]
        hops: npt.NDArray[np.uint32] = np.unique(self._table.rows["hop"][rows])
        return hops

    def ends(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """When the bindings in `slots` end, on the router's clock; FOREVER = never."""
        return self._ends[slots]

    def source_of(self, slots: npt.NDArray[np.uint32]) -> list[str]:
        """Names of the sources that own `slots`; empty where nobody does."""
        owners, names = self.owners(slots)
        return [names.get(number, "") for number in owners.tolist()]

    def owners(self, slots: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
        """Numbers of the sources that own `slots`, and the names of all of them now."""
        return self._owners[slots], {number: name for name, number in self._sources.items()}

    def owned_by(self, source: str) -> int:
        """How many bindings belong to `source`."""
        return int(np.count_nonzero(self._owners == self._owner(source)))

    def bound_slots(self) -> npt.NDArray[np.uint32]:
        """Slots of all bindings: those of addresses, ascending within a /24, then port sets."""
        # The comparison makes it six times faster than to look for octets that are not 0.
        return np.flatnonzero(self._owners != NO_OWNER).astype(np.uint32)

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

    def _remove(self, places: npt.NDArray[np.uint32]) -> None:
        """Unbind what is bound of `places`, each named once."""
        places = places[self._owners[places] != NO_OWNER]
        old = self._table.slots[places]
        self.on_unbound(places)
        self._shared.left(places)
        self._table.slots[places] = RowKind.UNBOUND
        self._owners[places] = NO_OWNER
        self.bound -= len(places)
        self.spare.retire(old, [])

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
        places = self._shared.places(slots, changes.psid[at])
        wanted = self._rows_for(changes, at)
        wanted["expires"] = ends = _ends(changes.lifetime_s[at], now_s)
        same = self._same_but_lifetime(wanted, self._table.slots[places])
        self._table.rows["expires"][self._table.slots[places[same]]] = ends[same]
        self._ends[places[same]] = ends[same]
        more = ~same
        n = self._publish(wanted[more], slots[more], places[more], owner)
        result.applied += int(np.count_nonzero(same)) + n
        if n < np.count_nonzero(more):
            result.reasons["table full"] = int(np.count_nonzero(more)) - n
            self._shared.unshare(slots)  # what was to be shared for those that found no row

    def _publish(
        self,
        wanted: npt.NDArray[np.void],
        slots: npt.NDArray[np.uint32],
        places: npt.NDArray[np.uint32],
        owner: int,
    ) -> int:
        """Bind in fresh rows, as many as there are; return how many that was."""
        fresh = self.spare.take_rows(len(wanted))
        n = len(fresh)
        slots, places = slots[:n], places[:n]
        wanted["hop"][:n] = self._hops_of(wanted["client6"][:n])
        self.on_bound(wanted["client6"][:n])
        self.on_unbound(places)
        old = self._table.slots[places]
        self._table.rows[fresh] = wanted[:n]
        self._table.slots[places] = fresh  # publish: after the rows are complete
        joined = self._owners[places] == NO_OWNER
        self._owners[places] = owner
        self._ends[places] = wanted["expires"][:n]
        self.bound += int(np.count_nonzero(joined))
        self._shared.joined(slots[joined & self._shared.is_set(places)])
        self.spare.retire(old, [])
        return n

    def _rows_for(self, changes: BindingColumns, at: Index) -> npt.NDArray[np.void]:
        tep_numbers = np.zeros(256, np.uint8)
        tep_numbers[: len(changes.tep6)] = [self._tep6.get(a, 0) for a in changes.tep6]
        rows = np.zeros(len(at), ROW)
        for name in ("client6", "ipv4", "psid_offset", "psid_len"):
            rows[name] = getattr(changes, name)[at]
        rows["tep"] = tep_numbers[changes.tep[at]]
        rows["kind"] = RowKind.BOUND
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


def _last_of_each(ipv4: npt.NDArray[np.uint32], psid: npt.NDArray[np.uint16]) -> Index:
    """Positions of the last mention of every binding, in no particular order."""
    key = ipv4
    if np.count_nonzero(psid):
        key = ipv4.astype(np.uint64) << np.uint64(PORT_BITS) | psid
    _, first_from_behind = np.unique(key[::-1], return_index=True)
    return (len(key) - 1 - first_from_behind).astype(np.intp)
