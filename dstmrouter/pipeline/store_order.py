"""Which of two things that a router hears of one store is the newer one.

Servers that share a store feed the same routers, and none of them is always ahead: a router may
hear late from one what it has long heard from the other. So each change and each snapshot says at
which version of the store it is true, and nothing overtakes what is newer: an address keeps the
newest version it was told, also when it was unbound then, and a complete snapshot is such a version
for all addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.memory import Index


class StoreOrder:
    """What is known of each slot of `slots`, at which version of the store `store_id`."""

    def __init__(self, store_id: bytes, slots: int) -> None:
        self.store_id = store_id
        self._versions: npt.NDArray[np.uint64] = np.zeros(slots, np.uint64)
        self._floor = 0  # every slot is known at this version

    def take(self, slots: npt.NDArray[np.uint32], version: int) -> Index:
        """Positions of those `slots` that are news at `version`, and known at it from now on."""
        if version < self._floor:
            return np.zeros(0, np.intp)
        news = np.flatnonzero(self._versions[slots] <= np.uint64(version))
        self._versions[slots[news]] = version
        return news

    def complete(self, version: int) -> npt.NDArray[np.uint32]:
        """End a snapshot at `version`; slots that it does not decide about, as it is too old."""
        if version < self._floor:
            return np.arange(len(self._versions), dtype=np.uint32)
        self._floor = version
        return np.flatnonzero(self._versions > np.uint64(version)).astype(np.uint32)
