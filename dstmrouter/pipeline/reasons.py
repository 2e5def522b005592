"""Verdicts for packets whose look-up ended without a way: by kind of row, by state of next hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.hops import HopState
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


def _table(size: int, verdicts: Mapping[int, Verdict]) -> npt.NDArray[np.uint8]:
    table = np.zeros(size, np.uint8)
    for number, verdict in verdicts.items():
        table[number] = verdict
    return table


NOT_BOUND: Final = _table(
    256,
    {
        RowKind.NOT_POOL: Verdict.DROP_NOT_POOL,
        RowKind.UNBOUND: Verdict.DROP_NO_BINDING,
        RowKind.LOCAL: Verdict.DROP_LOCAL,
        RowKind.BOUND: Verdict.DROP_NO_BINDING,  # its time is over
        RowKind.SHARED: Verdict.DROP_SHARED_ADDRESS,
    },
)
"""By RowKind."""

SPOOFED: Final = np.full(256, Verdict.DROP_SPOOF_ADDRESS, np.uint8)
SPOOFED[RowKind.SHARED] = Verdict.DROP_SHARED_ADDRESS
"""By RowKind of the inner source of a tunnel packet."""

NO_HOP: Final = _table(
    256,
    {
        HopState.UNRESOLVED: Verdict.DROP_NEIGHBOUR,
        HopState.UNREACHABLE: Verdict.DROP_UNREACHABLE,
        HopState.GLEAN: Verdict.DROP_NEIGHBOUR,
        HopState.LOCAL: Verdict.DROP_LOCAL,
    },
)
"""By HopState."""
