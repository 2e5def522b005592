"""Packets that may leave for a tunnel, and by which way."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from dstmrouter.pipeline.hops import HOP
from dstmrouter.pipeline.memory import pick

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import Index, Records


@dataclasses.dataclass(slots=True)
class Way:
    """Columns of n packets."""

    rows: Index  # which frames of the burst
    packets: Inner
    clients: Records  # dtype ROW
    bindings: npt.NDArray[np.uint32]  # numbers of these rows
    hop_words: npt.NDArray[np.uint64]  # HOP as words

    @property
    def hops(self) -> Records:
        """Next hops, dtype HOP."""
        return self.hop_words.view(HOP)

    def take(self, keep: Index) -> Way:
        """Those at the positions `keep`."""
        clients, bindings = pick(self.clients, keep), self.bindings[keep]
        rows, packets = self.rows[keep], self.packets.take(keep)
        return Way(rows, packets, clients, bindings, self.hop_words[keep])
