"""Who goes on, and why not: the first rule that a packet breaks is its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.verdict import Verdict

Mask: TypeAlias = npt.NDArray[np.bool_]
Reason: TypeAlias = "Verdict | Callable[[], npt.NDArray[np.uint8]]"
"""One verdict for all, or what makes a column of n verdicts if it is wanted."""
Checks: TypeAlias = "Sequence[tuple[Mask | Callable[[], Mask], Reason]]"
"""Pairs of the packets that break a rule, shape (n,), and why; the first that fits counts.

A mask that is still to be made stands for a rule that is *implied*: whoever breaks it breaks
another one of the sequence, too. It is only made to tell the reasons apart.
"""


def survivors(checks: Checks, verdicts: npt.NDArray[np.uint8], rows: Index) -> Index | None:
    """Set the verdict of the packets that break a rule; return the positions of the others.

    `rows` says where in `verdicts` each of the n packets stands. None means that all survive, the
    normal case: it costs one `or` a rule and one `any`.
    """
    bad = None
    for mask, _ in checks:
        if not callable(mask):
            bad = mask if bad is None else bad | mask
    if bad is None or not np.count_nonzero(bad):  # a quarter of the time of any()
        return None
    for mask, reason in reversed(checks):
        broken = mask() if callable(mask) else mask
        verdicts[rows[broken]] = reason()[broken] if callable(reason) else reason
    return np.flatnonzero(~bad)
