"""Who may divide the ports of an address, and what becomes of those who have it as it is.

All port sets of an address have one offset and one length (RFC 7597 section 5.1, rule R27). A
binding that wants the address otherwise is refused while others hold it; one that stands under the
same name (address and PSID) is replaced, and so is, in a snapshot, all that its source has there:
what the snapshot mentions is newer, and the rest of it would go at its end anyway. An address whose
shape changes is unbound for a moment in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.shared_addresses import UNBOUND, WHOLE, SharedAddresses, Wishes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.pipeline.memory import Index

_FINE: Final = ""
MIXED: Final = "port sets of one address differ in offset or length"
IS_WHOLE: Final = "address is bound as a whole"
IS_SHARED: Final = "address is divided into other port sets"
FOREIGN: Final = "address bound by another source"
NO_ROOM: Final = "no room for port sets"


class Reshaper:
    """Decides about shapes, and changes them; `owners` are the writer's, by place."""

    def __init__(
        self,
        shared: SharedAddresses,
        owners: npt.NDArray[np.uint8],
        remove: Callable[[npt.NDArray[np.uint32]], None],
    ) -> None:
        self._shared = shared
        self._owners = owners
        self._remove = remove

    def make_way(
        self, wishes: Wishes, order: Index, owner: int, *, displace: bool
    ) -> tuple[Index, dict[str, int]]:
        """Make addresses what `owner` wishes for; `order` is that of the wishes, the last counts.

        Returns which wishes have a place now, and for the others the reasons and how many.
        """
        now = self._shared.shapes(wishes.slots)
        if not np.count_nonzero(wishes.shapes) and not np.count_nonzero(now > WHOLE):
            return np.arange(len(wishes.slots)), {}  # whole addresses as ever
        slots, first, which = np.unique(wishes.slots, return_index=True, return_inverse=True)
        shapes = np.empty(len(slots), np.int32)
        by_time = np.argsort(order)
        shapes[which[by_time]] = wishes.shapes[by_time]  # of several, the last stays
        why = np.full(len(slots), _FINE, object)
        for number in np.flatnonzero((now[first] != UNBOUND) & (now[first] != shapes)).tolist():
            psids = wishes.psids[(which == number) & (wishes.shapes == shapes[number])]
            why[number] = self._clear(int(slots[number]), psids, owner, displace=displace)
        self._share(Wishes(slots, wishes.ipv4[first], shapes, wishes.psids[first]), why)
        reasons = np.where(wishes.shapes == shapes[which], why[which], MIXED)
        names, counts = np.unique(reasons.astype(str), return_counts=True)
        refused = dict(zip(names.tolist(), counts.tolist(), strict=True))
        refused.pop(_FINE, None)
        return np.flatnonzero(reasons == _FINE), refused

    def _share(self, addresses: Wishes, why: npt.NDArray[np.object_]) -> None:
        """Share those addresses that are to be and are not yet; note where there is no room."""
        unbound = self._shared.shapes(addresses.slots) == UNBOUND
        at = np.flatnonzero((why == _FINE) & (addresses.shapes != WHOLE) & unbound)
        chosen = Wishes(
            addresses.slots[at], addresses.ipv4[at], addresses.shapes[at], addresses.psids[at]
        )
        why[at[self._shared.share(chosen) :]] = NO_ROOM

    def _clear(
        self, slot: int, psids: npt.NDArray[np.uint16], owner: int, *, displace: bool
    ) -> str:
        """Unbind all of an address that stands in the way of `psids`; or say why that cannot be."""
        places = self._shared.places_within(slot)
        bound = self._owners[places].astype(np.bool_)  # nobody is 0
        held = places[bound]
        if np.count_nonzero(self._owners[held] != owner):
            return FOREIGN
        numbers = np.flatnonzero(bound)  # PSIDs, as the address is divided now
        if not displace and not np.isin(numbers, psids).all():
            return IS_WHOLE if len(places) == 1 else IS_SHARED
        self._remove(held)
        return _FINE
