"""Frames for ICMP errors of one side, as far as limits allow; what gets none is counted (R26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.pipeline.limits import Limiter, Rates
from dstmrouter.pipeline.outcome import Noted

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.limits import Standing
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.own import OwnPackets
    from dstmrouter.pipeline.rules import IcmpRules
    from dstmrouter.pipeline.verdict import Verdict


class Granting:
    """`total` errors a second of each kind; `unsent` counts the others. `key` is a secret."""

    def __init__(
        self, icmp: IcmpRules, total: int, key: int, own: OwnPackets, unsent: Verdict
    ) -> None:
        rates = Rates(total=total, prefix=icmp.prefix_rate, prefix_burst=icmp.prefix_burst)
        self._limiter = Limiter(rates, key)
        self._burst_limit = icmp.burst_limit
        self._own = own
        self._unsent = unsent

    def exhausted(self, kind: Verdict, now_s: float) -> bool:
        """Whether no error of this kind can be sent now."""
        return self._limiter.left(kind, now_s) <= 0

    def standing(self, kind: Verdict, now_s: float) -> Standing:
        """As `dstmrouter.pipeline.limits.Limiter.standing`."""
        return self._limiter.standing(kind, now_s)

    def places(
        self,
        kind: Verdict,
        prefixes: npt.NDArray[np.uint64],
        now_s: float,
        outcome: Outcome,
        answerable: Callable[[Index], Mask] | None = None,
    ) -> tuple[Index, Index]:
        """Of n packets the rows, ascending, that errors are sent about, and a place for each error.

        `prefixes` are numbers of their sources, shape (n,). `answerable` tells which rows may be
        told. It is not asked about rows over a limit: some of these would not have got an error.
        """
        chance = self._limiter.chance(kind, prefixes, now_s, self._burst_limit)
        candidates = chance.keep
        if len(candidates) and answerable is not None:
            chance = chance.take(np.flatnonzero(answerable(candidates)))
        granted = chance.keep[:0]
        if len(chance.keep):
            granted = chance.keep[self._limiter.take(chance, now_s)]
        at = self._own.places(len(granted))
        refused = len(prefixes) - len(candidates) + len(chance.keep) - len(at)
        if refused:
            outcome.noted.append(Noted(self._unsent, refused, 0))
        return granted[: len(at)], at
