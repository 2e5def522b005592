"""Sending ICMPv6 errors about tunnel packets, whoever has a reason: rules, limits, frames (R26).

They go back by the neighbour that the packet came from: it is on the way to its source, which may
be nobody's that a table knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline.icmp6 import Icmp6Builder, answerable
from dstmrouter.pipeline.limits import Limiter, Rates
from dstmrouter.pipeline.outcome import Noted
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from dstmrouter.pipeline.icmp4 import Error
    from dstmrouter.pipeline.icmp6 import About6
    from dstmrouter.pipeline.memory import FrameMemory
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.own import OwnPackets
    from dstmrouter.pipeline.rules import TunnelRules

_ONES: Final = 0xFFFFFFFFFFFFFFFF


class Errors6:
    """Makes errors and sends them, within the limits of their kinds."""

    def __init__(self, memory: FrameMemory, rules: TunnelRules, own: OwnPackets) -> None:
        icmp = rules.icmp
        rates = Rates(
            total=icmp.icmpv6_rate, prefix=icmp.prefix_rate, prefix_burst=icmp.prefix_burst
        )
        self._own = own
        self._builder = Icmp6Builder(memory, rules.hop_limit)
        self._limiter = Limiter(rates, rules.flow_key[0] ^ rules.flow_key[1])
        mask = _ONES << (64 - icmp.prefix_len6) & _ONES
        self._prefix_mask = np.frombuffer(mask.to_bytes(8, "big"), "<u8")[0]
        self._burst_limit = icmp.burst_limit

    def exhausted(self, error: Error, now_s: float) -> bool:
        """Whether no such error can be sent now."""
        return self._limiter.left(error.verdict, now_s) <= 0

    def send(self, error: Error, about: About6, now_s: float, outcome: Outcome) -> None:
        """Send errors to the sources of packets, as far as rules and limits allow."""
        fine = np.flatnonzero(answerable(about))
        prefixes = about.header["src"][fine, 0] & self._prefix_mask
        chance = self._limiter.chance(error.verdict, prefixes, now_s, self._burst_limit)
        granted = chance.keep
        if len(granted):
            granted = fine[granted[self._limiter.take(chance, now_s)]]
        at = self._own.places(len(granted))
        if len(at) < len(fine):
            outcome.noted.append(Noted(Verdict.UNSENT_ICMPV6, len(fine) - len(at), 0))
        if len(at):
            about = about.take(granted[: len(at)])
            length = self._builder.build(at, error.type, error.code, about)
            self._own.send6(at, length, about, error.verdict, outcome)
