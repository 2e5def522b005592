"""Verdicts for packets whose look-up ended without a way: by kind of row, by state of next hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.hops import HOP, HopState, same
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstmrouter.pipeline.decide import Check


def _table(size: int, verdicts: Mapping[int, Verdict]) -> npt.NDArray[np.uint8]:
    table = np.zeros(size, np.uint8)
    for number, verdict in verdicts.items():
        table[number] = verdict
    return table


_NO_KEY: Final[dict[int, Verdict]] = {
    RowKind.SHARED: Verdict.DROP_NO_PORT,
    RowKind.NO_PORT: Verdict.DROP_NO_PORT,
    RowKind.DAMAGED: Verdict.DROP_ICMP_DAMAGED,
    RowKind.PIECE: Verdict.DROP_FRAGMENT_SHARED,
}
"""Packets of shared addresses whose port set cannot be told, in either direction."""

NOT_BOUND: Final = _table(
    256,
    {
        RowKind.NOT_POOL: Verdict.DROP_NOT_POOL,
        RowKind.UNBOUND: Verdict.DROP_NO_BINDING,
        RowKind.LOCAL: Verdict.DROP_LOCAL,
        RowKind.BOUND: Verdict.DROP_NO_BINDING,  # its time is over
        **_NO_KEY,
        RowKind.NO_SET: Verdict.DROP_NO_BINDING,
    },
)
"""By RowKind."""

SPOOFED: Final = np.full(256, Verdict.DROP_SPOOF_ADDRESS, np.uint8)
SPOOFED[list(_NO_KEY)] = list(_NO_KEY.values())
SPOOFED[RowKind.NO_SET] = Verdict.DROP_SPOOF_PORT
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

_RESOLVED: Final = constant(HopState.RESOLVED, np.uint8)
_STATE_SHIFT: Final = 56  # the state is the last octet of a word


def unresolved(words: npt.NDArray[np.uint64]) -> list[Check]:
    """The check of next hops, HOP as words, shape (n,); none where one look says all are fine."""
    if same(words) and words.item(0) >> _STATE_SHIFT == HopState.RESOLVED:
        return []
    state = words.view(HOP)["state"]
    return [(state != _RESOLVED, lambda: NO_HOP.take(state))]
