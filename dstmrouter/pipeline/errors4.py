"""Sending ICMPv4 errors, whoever has a reason: rules, limits, frames, in this order (R24, R26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.pipeline.granting import Granting
from dstmrouter.pipeline.icmp4 import Icmp4Builder, answerable
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.icmp4 import About, Error
    from dstmrouter.pipeline.limits import Standing
    from dstmrouter.pipeline.memory import FrameMemory
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
        self._memory = memory
        self._own = own
        self._builder = Icmp4Builder(memory, int(rules.tep4), icmp.ttl)
        self._to_internet, self._to_clients = (
            Granting(icmp, icmp.icmpv4_rate, key, own, Verdict.UNSENT_ICMPV4)
            for key in rules.flow_key
        )
        self._host_bits = np.uint64(32 - icmp.prefix_len4)

    def exhausted(self, error: Error, now_s: float, *, clients: bool) -> bool:
        """Whether no such error can be sent now."""
        return self._granting(clients).exhausted(error.verdict, now_s)

    def standing(self, error: Error, now_s: float) -> Standing:
        """How things stand for an error about packets from the Internet."""
        standing = self._to_internet.standing(error.verdict, now_s)
        standing.host_bits = int(self._host_bits)
        return standing

    def send(self, error: Error, about: About, now_s: float, outcome: Outcome) -> None:
        """Send errors to the sources of packets, as far as rules and limits allow."""
        rows, at = self._granting(about.clients).places(
            error.verdict,
            self._prefixes(about),
            now_s,
            outcome,
            lambda rows: answerable(self._memory, about.packets.take(rows)),
        )
        if len(at):
            errors = self._builder.build(at, error, about.take(rows))
            self._own.send4(errors, error.verdict, int(now_s), outcome)

    def _prefixes(self, about: About) -> npt.NDArray[np.uint64]:
        src = about.packets.src.astype(np.uint64)
        return src if about.clients else src >> self._host_bits

    def _granting(self, clients: bool) -> Granting:
        return self._to_clients if clients else self._to_internet
