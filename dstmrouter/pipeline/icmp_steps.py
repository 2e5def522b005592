"""The steps that send ICMP errors, put together (R22-R26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.pipeline.embedded import EmbeddedReader
from dstmrouter.pipeline.errors4 import Errors4
from dstmrouter.pipeline.errors6 import Errors6
from dstmrouter.pipeline.outer import OuterReader
from dstmrouter.pipeline.own import OwnPackets
from dstmrouter.pipeline.refusals import Refusals
from dstmrouter.pipeline.relay import Relay
from dstmrouter.pipeline.reread import Rereader
from dstmrouter.pipeline.spoofers import Spoofers

if TYPE_CHECKING:
    from dstmrouter.pipeline.limits import Standing
    from dstmrouter.pipeline.rare import Step
    from dstmrouter.pipeline.surroundings import Surroundings


class IcmpSteps:
    """What sends errors, for the steps here and for others that have a reason to send one.

    `errors4` and `errors6` are None where the rules want none.
    """

    def __init__(self, around: Surroundings) -> None:
        memory, rules = around.memory, around.rules
        self._around = around
        outer = OuterReader(memory, rules.tep6)
        self.reread = Rereader(memory, outer, around.vlans)
        self.own = OwnPackets(around)
        self.errors4 = None if rules.tep4 is None else Errors4(memory, rules, self.own)
        self.errors6 = Errors6(memory, rules, self.own) if rules.icmp.generate_icmpv6 else None
        self._embedded = EmbeddedReader(memory, outer, around.port_sets)
        self._refusals: Refusals | None = None

    def steps(self) -> list[Step]:
        """Those that the rules ask for."""
        icmp = self._around.rules.icmp
        relaying = self.errors4 if icmp.relay else None
        steps: list[Step] = [Relay(self._around, self.reread, self._embedded, relaying)]
        if self.errors4 is not None and icmp.generate_icmpv4:
            self._refusals = Refusals(self._around, self.reread, self.errors4)
            steps.append(self._refusals)
        if self.errors6 is not None and icmp.access_prefixes:
            steps.append(Spoofers(icmp, self.reread, self.errors6))
        return steps

    def unbound(self, now_s: float) -> Standing | None:
        """As `dstmrouter.pipeline.forward.Forwarder.unbound`."""
        return None if self._refusals is None else self._refusals.unbound(now_s)
