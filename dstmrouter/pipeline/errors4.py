"""Sending ICMPv4 errors, whoever has a reason: rules, limits, frames, in this order (R24, R26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.pipeline.icmp4 import Icmp4Builder, answerable
from dstmrouter.pipeline.limits import Limiter, Rates
from dstmrouter.pipeline.outcome import Noted
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.icmp4 import About, Error
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.own import OwnPackets
    from dstmrouter.pipeline.rules import TunnelRules


class Errors4:
    """Makes errors and sends them from tep4, which must be given.

    Each direction has its own buckets: what comes from the Internet does not use up what clients
    get, and the other way round.
    """

    def __init__(self, memory: FrameMemory, rules: TunnelRules, own: OwnPackets) -> None:
        assert rules.tep4 is not None
        icmp = rules.icmp
        rates = Rates(
            total=icmp.icmpv4_rate, prefix=icmp.prefix_rate, prefix_burst=icmp.prefix_burst
        )
        self._memory = memory
        self._own = own
        self._builder = Icmp4Builder(memory, int(rules.tep4), icmp.ttl)
        self._to_internet = Limiter(rates, rules.flow_key[0])
        self._to_clients = Limiter(rates, rules.flow_key[1])
        self._host_bits = np.uint64(32 - icmp.prefix_len4)
        self._burst_limit = icmp.burst_limit

    def exhausted(self, error: Error, now_s: float, *, clients: bool) -> bool:
        """Whether no such error can be sent now."""
        return self._limiter(clients).left(error.verdict, now_s) <= 0

    def send(self, error: Error, about: About, now_s: float, outcome: Outcome) -> None:
        """Send errors to the sources of packets, as far as rules and limits allow."""
        limiter = self._limiter(about.clients)
        chance = limiter.chance(error.verdict, self._prefixes(about), now_s, self._burst_limit)
        # Whoever is over a limit is not looked at: some of these would not have got an error.
        refused = len(about) - len(chance.keep)
        if len(chance.keep):
            candidates = about.take(chance.keep)
            chance = chance.take(np.flatnonzero(answerable(self._memory, candidates.packets)))
            granted = chance.keep[limiter.take(chance, now_s)]
            at = self._own.places(len(granted))
            refused += len(chance.keep) - len(at)
            self._send(error, about.take(granted[: len(at)]), at, now_s, outcome)
        if refused:
            outcome.noted.append(Noted(Verdict.UNSENT_ICMPV4, refused, 0))

    def _send(self, error: Error, about: About, at: Index, now_s: float, outcome: Outcome) -> None:
        if len(at):
            errors = self._builder.build(at, error, about)
            self._own.send4(errors, error.verdict, int(now_s), outcome)

    def _prefixes(self, about: About) -> npt.NDArray[np.uint64]:
        src = about.packets.src.astype(np.uint64)
        return src if about.clients else src >> self._host_bits

    def _limiter(self, clients: bool) -> Limiter:
        return self._to_clients if clients else self._to_internet
