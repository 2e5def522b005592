"""Sending ICMPv6 errors about tunnel packets, whoever has a reason: rules, limits, frames (R26).

They go back by the neighbour that the packet came from: it is on the way to its source, which may
be nobody's that a table knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline.granting import Granting
from dstmrouter.pipeline.icmp6 import Icmp6Builder, answerable
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
        icmp, key = rules.icmp, rules.flow_key[0] ^ rules.flow_key[1]
        self._own = own
        self._builder = Icmp6Builder(memory, rules.hop_limit)
        self._granting = Granting(icmp, icmp.icmpv6_rate, key, own, Verdict.UNSENT_ICMPV6)
        mask = _ONES << (64 - icmp.prefix_len6) & _ONES
        self._prefix_mask = np.frombuffer(mask.to_bytes(8, "big"), "<u8")[0]

    def exhausted(self, error: Error, now_s: float) -> bool:
        """Whether no such error can be sent now."""
        return self._granting.exhausted(error.verdict, now_s)

    def send(self, error: Error, about: About6, now_s: float, outcome: Outcome) -> None:
        """Send errors to the sources of packets, as far as rules and limits allow."""
        about = about.take(np.flatnonzero(answerable(about)))
        prefixes = about.header["src"][:, 0] & self._prefix_mask
        rows, at = self._granting.places(error.verdict, prefixes, now_s, outcome)
        if len(at):
            about = about.take(rows)
            length = self._builder.build(at, error.type, error.code, about)
            self._own.send6(at, length, about, error.verdict, outcome)
