"""What happens to a burst: the order of the steps, and nothing else.

IPv4 frames are encapsulated towards the client that holds their destination. IPv6 frames are
decapsulated and routed, sent back to another client (hairpin, R16), or answered when they are a
client's ping to tep4 (R15). The result is a verdict for every frame, and the packets to send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import echo, inner
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.client_mtus import ClientMtus
from dstmrouter.pipeline.decap import Decapsulator
from dstmrouter.pipeline.encap import Encapsulator
from dstmrouter.pipeline.fragment4 import Fragmenter4
from dstmrouter.pipeline.fragment6 import Fragmenter6
from dstmrouter.pipeline.icmp_steps import IcmpSteps
from dstmrouter.pipeline.link import Packets, split
from dstmrouter.pipeline.outcome import Outcome, Tables
from dstmrouter.pipeline.piece_errors import PieceErrors
from dstmrouter.pipeline.portsets import PortSets
from dstmrouter.pipeline.rare import RareWork
from dstmrouter.pipeline.reassembly import Reassembler
from dstmrouter.pipeline.route import Router4
from dstmrouter.pipeline.rules import WorkerIdentity
from dstmrouter.pipeline.shared_pieces import SharedPieces
from dstmrouter.pipeline.surroundings import Surroundings
from dstmrouter.pipeline.usage import FROM_CLIENT, Charge
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import UNMEASURED, TurnStep
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.limits import Standing
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.rare import FrameSource, Step
    from dstmrouter.pipeline.rules import TunnelRules
    from dstmrouter.runtime import Meter


_NOT_POOL: Final = constant(RowKind.NOT_POOL, np.uint8)
_LOCAL: Final = constant(RowKind.LOCAL, np.uint8)


class Forwarder:
    """Steps over bursts; holds views and templates. Only the steps for rare packets have state.

    `frames` is where packets of our own get their frames from; `identity` says which worker this
    is.
    """

    engine = "numpy"

    def __init__(
        self,
        memory: FrameMemory,
        tables: Tables,
        rules: TunnelRules,
        frames: FrameSource,
        identity: WorkerIdentity | None = None,
    ) -> None:
        self._memory = memory
        self._tables = tables
        self._rules = rules
        self._identity = identity or WorkerIdentity()
        self._port_sets = PortSets(memory, tables.bindings)
        fragmenter4 = Fragmenter4(memory, frames)
        cutters = Fragmenter6(memory, rules, frames, self._identity), fragmenter4
        self._encap = Encapsulator(memory, tables, self._port_sets, rules, cutters)
        self._decap = Decapsulator(memory, self._port_sets, rules)
        self._route = Router4(memory, tables, rules, fragmenter4)
        self._frames = frames
        self._port_generation = -1
        self._vlans: list[int] = []
        self._meter: Meter = UNMEASURED
        self._rare = RareWork(self._rare_steps())

    def measure_with(self, meter: Meter) -> None:
        """Let `meter` know when a step is done."""
        self._meter = self._rare.meter = meter

    def process(self, at: Index, length: npt.NDArray[np.int64], port: int, now_s: float) -> Outcome:
        """Work on the frames that start at `at` (octets of frame memory) and came in by `port`.

        `length` has their octets; `now_s` is the router's clock in seconds, of which only rates of
        our own packets count the fractions.
        """
        self._follow_ports()
        if not len(at):
            return Outcome(np.zeros(0, np.uint8))
        outcome = self._pass(at, length, port, int(now_s))
        self._rare.follow(at, length, port, now_s, outcome)
        return outcome

    def _pass(self, at: Index, length: npt.NDArray[np.int64], port: int, now_s: int) -> Outcome:
        """All that is done about normal packets, and the verdicts of the others."""
        outcome = Outcome(np.zeros(len(at), np.uint8))  # 0 is ENCAPSULATED, until we know better
        plain, tunnelled = split(self._memory, at, length, self._vlans[port], outcome.verdicts)
        meter = self._meter
        if meter.on:
            meter.lap(TurnStep.NUMPY_LINK, len(at))
        if plain is not None:
            self._from_internet(plain, now_s, outcome)
            if meter.on:
                meter.lap(TurnStep.NUMPY_ENCAP, len(plain.rows))
        if tunnelled is not None:
            self._from_clients(tunnelled, now_s, outcome)
            if meter.on:
                meter.lap(TurnStep.NUMPY_DECAP, len(tunnelled.rows))
        return outcome

    def unbound(self, now_s: float) -> Standing | None:
        """How things stand for errors about packets from the Internet that nobody is bound to.

        None if there are no such errors: then their verdict is all there is to them. Each that gets
        none for want of tokens is counted as UNSENT_ICMPV4 besides.
        """
        return self._icmp.unbound(now_s)

    def expire(self, now_s: float) -> Outcome:
        """What time alone brings about; to be called about once a second."""
        self._follow_ports()
        outcome = Outcome(np.zeros(0, np.uint8))
        self._rare.expire(now_s, outcome)
        return outcome

    def held(self) -> int:
        """How many frames are kept."""
        return self._rare.held()

    def _rare_steps(self) -> list[Step]:
        icmp = self._icmp = IcmpSteps(
            Surroundings(
                memory=self._memory,
                tables=self._tables,
                rules=self._rules,
                frames=self._frames,
                encap=self._encap,
                route=self._route,
                vlans=self._vlans,
                port_sets=self._port_sets,
                mtus=ClientMtus(self._rules, self._tables),
            )
        )
        limits, chunk_size = self._rules.reassembly, self._frames.chunk_size
        clients, seed = self._tables.clients6, self._identity.seed
        reassembler = Reassembler(self._memory, clients, limits, chunk_size, seed)
        steps: list[Step] = [
            reassembler,
            SharedPieces(icmp.reread, self._port_sets, self._pass),
            *icmp.steps(),
        ]
        if icmp.errors6 is not None:
            errors = PieceErrors(self._memory, icmp.errors6)
            reassembler.on_timeout = errors.timed_out
            steps.append(errors)
        return steps

    def _follow_ports(self) -> None:
        if self._tables.ports.generation == self._port_generation:
            return
        seen = self._tables.ports.read()
        if seen is None:
            return
        self._port_generation, ports = seen
        self._encap.follow(ports)
        self._route.follow(ports)
        self._vlans[:] = [int(vlan) for vlan in ports["vlan"]]

    def _from_internet(self, packets: Packets, now_s: int, outcome: Outcome) -> None:
        known = None if packets.head is None else packets.head["packet"]
        headers, checks = inner.read(self._memory, packets.at, packets.room, known, "dst_upper")
        self._encap.forward(packets.rows, headers, checks, now_s, outcome)

    def _from_clients(self, packets: Packets, now_s: int, outcome: Outcome) -> None:
        opened = self._decap.open(packets, now_s, outcome.verdicts)
        if not len(opened.rows):
            return
        self._to_destinations(opened.rows, opened.packets, now_s, outcome)
        if self._tables.usage.on:
            # Only now: what waits for a further step will pass here again.
            octets = opened.packets.total_len
            charge = Charge(FROM_CLIENT, opened.rows, opened.bindings, octets)
            outcome.charges.append(charge.carried(outcome.verdicts))

    def _to_destinations(self, rows: Index, inners: Inner, now_s: int, outcome: Outcome) -> None:
        """Send what left its tunnel to where it is addressed."""
        if self._tables.bindings.outside(inners.dst):
            self._route.forward(rows, inners, outcome)
            return
        kind = self._tables.bindings.look_up(inners.dst)["kind"]
        elsewhere = kind == _NOT_POOL
        to_us = kind == _LOCAL
        for mask, step in (
            (elsewhere, self._to_internet),
            (to_us, self._answer),
            (~(elsewhere | to_us), self._hairpin),
        ):
            keep = np.flatnonzero(mask)
            if len(keep):
                step(rows[keep], inners.take(keep), now_s, outcome)

    def _to_internet(self, rows: Index, inners: Inner, _now_s: int, outcome: Outcome) -> None:
        self._route.forward(rows, inners, outcome)

    def _hairpin(self, rows: Index, inners: Inner, now_s: int, outcome: Outcome) -> None:
        """R16: never to the Internet router, whether the destination is bound or not."""
        if not self._rules.hairpin:
            outcome.verdicts[rows] = Verdict.DROP_HAIRPIN_OFF
            return
        outcome.verdicts[rows] = Verdict.HAIRPINNED
        self._encap.forward(rows, inners, (), now_s, outcome)

    def _answer(self, rows: Index, inners: Inner, now_s: int, outcome: Outcome) -> None:
        """R15: pings to tep4 are answered, all else to it is dropped."""
        asked = echo.requests(self._memory, inners)
        outcome.verdicts[rows] = np.where(asked, Verdict.ECHO_ANSWERED, Verdict.DROP_LOCAL)
        keep = np.flatnonzero(asked)
        if len(keep):
            answers = echo.answer(self._memory, inners.take(keep))
            self._encap.answer(rows[keep], answers, now_s, outcome)
