"""ICMPv6 1/5 to those who sent what they may not send: a step behind the pass (R12).

Only to sources in the access network, as far as the operator has named its prefixes: a forged
source elsewhere would get an answer to what it never sent (RFC 7596 section 9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline.icmp4 import Error
from dstmrouter.pipeline.icmp6 import about6
from dstmrouter.pipeline.outcome import Noted
from dstmrouter.pipeline.prefixes import Span, intervals6, lookup6
from dstmrouter.pipeline.rare import KeepsNothing
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep
from dstmrouter.wire import icmp

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstmrouter.pipeline.errors6 import Errors6
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.rare import Arrivals
    from dstmrouter.pipeline.reread import Rereader
    from dstmrouter.pipeline.rules import IcmpRules

SPOOF: Final = Error(Verdict.SENT_ICMPV6_SPOOF, icmp.UNREACHABLE6, icmp.SOURCE_POLICY_CODE)


class Spoofers(KeepsNothing):
    """The step; without prefixes it has nothing to do."""

    turn_step = TurnStep.SPOOFERS
    verdicts: Collection[int] = (
        Verdict.DROP_SPOOF_ADDRESS,
        Verdict.DROP_SPOOF_CLIENT,
        Verdict.DROP_SPOOF_PORT,
    )

    def __init__(self, rules: IcmpRules, reread: Rereader, errors: Errors6) -> None:
        self._access = intervals6(
            Span(int(net.network_address), int(net.broadcast_address), 1)
            for net in set(rules.access_prefixes)
        )
        self._reread = reread
        self._errors = errors

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Send errors about the frames; their verdicts stay."""
        if self._errors.exhausted(SPOOF, now_s):
            outcome.noted.append(Noted(Verdict.UNSENT_ICMPV6, len(arrivals.rows), 0))
            return
        _, packets = self._reread.split(arrivals)
        assert packets is not None, "only tunnel packets are spoofed"
        frame_at = arrivals.at[packets.rows]
        about = about6(self._reread.memory, packets, frame_at, arrivals.port)
        within = np.flatnonzero(lookup6(self._access, about.header["src"]))
        if len(within):
            self._errors.send(SPOOF, about.take(within), now_s, outcome)
