"""The steps that send ICMP errors, put together (R22-R26)."""

from __future__ import annotations

import dataclasses
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
    from dstmrouter.pipeline.client_mtus import ClientMtus
    from dstmrouter.pipeline.encap import Encapsulator
    from dstmrouter.pipeline.memory import FrameMemory
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rare import FrameSource, Step
    from dstmrouter.pipeline.route import Router4
    from dstmrouter.pipeline.rules import TunnelRules


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What steps for rare packets work with; all of it belongs to the forwarder."""

    memory: FrameMemory
    tables: Tables
    rules: TunnelRules
    frames: FrameSource
    encap: Encapsulator
    route: Router4
    vlans: list[int]  # by port, kept up to date
    mtus: ClientMtus


class IcmpSteps:
    """What sends errors, for the steps here and for others that have a reason to send one."""

    def __init__(self, around: Surroundings) -> None:
        memory, rules = around.memory, around.rules
        self._around = around
        outer = OuterReader(memory, rules.tep6)
        self.reread = Rereader(memory, outer, around.vlans)
        self.own = OwnPackets(around.tables.bindings, around.frames, around.encap, around.route)
        self.errors4 = None if rules.tep4 is None else Errors4(memory, rules, self.own)
        self.errors6 = Errors6(memory, rules, self.own)
        self._embedded = EmbeddedReader(memory, outer, around.tables.bindings)

    def steps(self) -> list[Step]:
        """Those that the rules ask for."""
        bindings, icmp = self._around.tables.bindings, self._around.rules.icmp
        mtus, route = self._around.mtus, self._around.route
        relaying = self.errors4 if icmp.relay else None
        steps: list[Step] = [
            Relay(self.reread, self._embedded, bindings, mtus, relaying, icmp.burst_limit)
        ]
        if self.errors4 is not None and icmp.generate_icmpv4:
            steps.append(Refusals(icmp, self.reread, bindings, route, mtus, self.errors4))
        if icmp.access_prefixes:
            steps.append(Spoofers(icmp, self.reread, self.errors6))
        return steps
