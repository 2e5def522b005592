"""The memory that supervisor and workers share: one memfd, cut into the tables.

A memfd has no name in any file system: when the last process is gone, however it ended, nothing is
left. Workers inherit the descriptor and map the same layout, which follows from `Sizes` alone.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon import tablememory
from dstmrouter.daemon.noticeboard import Noticeboard
from dstmrouter.daemon.tapboard import TapBoard
from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable
from dstmrouter.pipeline.clients6 import ClientSet
from dstmrouter.pipeline.hops import HOP_SIZE, HopTable
from dstmrouter.pipeline.outcome import Tables
from dstmrouter.pipeline.pathmtu import PathMtus
from dstmrouter.pipeline.ports import PortTable
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.routes4 import Routes4
from dstmrouter.pipeline.usage import UsageTable
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network

    import numpy.typing as npt

_PAGE: Final = 4096
_SPARE_ROWS_MIN: Final = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the layout follows from."""

    workers: int
    blocks: int  # /24 blocks of pools, and block 0
    leases: int
    hops: int
    routes: int
    set_slots: int = 0  # room for the port sets of shared addresses

    @property
    def spare_rows(self) -> int:
        """Rows for changes whose predecessors a worker may still hold."""
        return max(_SPARE_ROWS_MIN, self.leases // 8)

    @property
    def rows(self) -> int:
        """All rows of the binding table; a shared address has one, too, and two slots at least."""
        return FIXED_ROWS + self.leases + self.spare_rows + self.set_slots // 2

    @property
    def spans(self) -> list[int]:
        """Octets of each table in their order, as whole pages."""
        sizes = (
            Turns.size(self.workers),
            PortTable.SIZE,
            Noticeboard.size(self.workers),
            TapBoard.size(self.workers),
            Counters.size(self.workers, len(Verdict)),
            Runtime.size(self.workers),
            self.hops * HOP_SIZE,
            Routes4.size(self.routes),
            PathMtus.SIZE,
            ClientSet.size(self.leases),
            sum(BindingTable.sizes(self.blocks, self.rows, self.set_slots)),
            UsageTable.size(self.workers, self.rows),
        )
        return [-(-size // _PAGE) * _PAGE for size in sizes]


class SharedTables:
    """Views of all tables over one mapping; `close` is left to the end of the process."""

    def __init__(self, fd: int, sizes: Sizes) -> None:
        self.fd = fd
        self.sizes = sizes
        memory, spans = tablememory.attach(fd), sizes.spans
        octets: npt.NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        parts = [
            octets[end - span : end] for span, end in zip(spans, np.cumsum(spans), strict=True)
        ]
        turns, ports, notices, taps, counters, runtime, *tables = parts
        hops, routes, path_mtus, clients6, bindings, usage = tables
        self.turns = Turns(turns, sizes.workers)
        self.noticeboard = Noticeboard(notices, sizes.workers)
        self.taps = TapBoard(taps, sizes.workers)
        self.counters = Counters(counters, sizes.workers, len(Verdict))
        self.runtime = Runtime(runtime, sizes.workers)
        self.tables = Tables(
            BindingTable(bindings, sizes.blocks, sizes.rows, sizes.set_slots),
            Routes4(routes, sizes.routes),
            HopTable(hops[: sizes.hops * HOP_SIZE].view(np.uint64)),
            PortTable(ports),
            PathMtus(path_mtus),
            ClientSet(clients6, sizes.leases),
            UsageTable(usage, sizes.workers, sizes.rows),
        )

    def lay_out(self, pools: Sequence[IPv4Network], tep4: int) -> None:
        """Give all tables their first content, and secrets of this run; before workers start."""
        self.tables.bindings.lay_out(pools, tep4)
        self.tables.hops.lay_out()
        for keyed in (self.tables.path_mtus, self.tables.clients6):
            keyed.lay_out((secrets.randbits(64), secrets.randbits(64)))

    @classmethod
    def create(cls, sizes: Sizes) -> SharedTables:
        """Make zeroed memory for `sizes`. Pages are only taken when they are written."""
        return cls(tablememory.create(sum(sizes.spans)), sizes)
