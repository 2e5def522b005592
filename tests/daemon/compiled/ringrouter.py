"""A worker's engine over rings in memory, with the compiled turn or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.counters import Counters
from dstmrouter.daemon.compiled.ringturn import ring_turn
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.taggedport import parted
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from lab.ringport import RingPort
from tests.pipeline import worlds
from tests.pipeline.built import tables, tunnel_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.io.port import Port
    from dstmrouter.pipeline.rules import IcmpRules

FRAMES: Final = 2048
SLOTS: Final = 64
VLAN: Final = 9
PORTS: Final = len(worlds.world().ports)


class Router:
    """An engine over rings in memory that may have the compiled turn.

    With `one_armed`, all ports share one interface; only ACCESS is untagged there.
    """

    def __init__(
        self,
        kind: str,
        *,
        start: int = 0,
        one_armed: bool = False,
        icmp: IcmpRules = worlds.ICMP,
        slots: int = SLOTS,
        frames: int = FRAMES,
        flush_places: Sequence[int] = (),
    ) -> None:
        world = worlds.world(icmp=icmp)
        self.umem = umem = Umem(frames)
        self.tables, rules = tables(world), tunnel_rules(world)
        steps = Forwarder(FrameMemory(umem.memory), self.tables, rules, umem.pool)
        compiled = CompiledForwarder(umem.memory, self.tables, rules, steps)
        self.counters = Counters(bytearray(Counters.size(2, len(Verdict))), 2, len(Verdict))
        lines = 1 if one_armed else PORTS
        self.ports = [RingPort(umem, f"{n}", slots=slots, start=start) for n in range(lines)]
        if one_armed:
            self.tables.ports.set(worlds.INTERNET, mac=bytes(6), mtu=1500, vlan=VLAN)
        vlans = [None, VLAN, 78, 77]
        shared = [(self.ports[n % lines], vlan) for n, vlan in enumerate(vlans)]
        ports: list[Port] = parted(shared, umem.octets) if one_armed else [*self.ports]
        forwarder = steps if kind == "numpy" else compiled
        self.engine = Engine(umem, ports, forwarder, self.counters, 1)
        self.engine.usage = self.tables.usage.values[0]
        self.tables.usage.turn(on=True)
        for port, place in zip(self.ports, flush_places, strict=False):
            port.flush_place = place
        if kind == "handover":
            self.engine.handover = ring_turn(self.engine, compiled)

    def turn(self, now_s: int = worlds.NOW_S, rounds: int = 1) -> int:
        received = self.engine.turn(now_s, rounds)
        assert self.engine.missing() == 0
        return received

    def serve(self) -> None:
        """Send and complete everything."""
        for port in self.ports:
            port.send(self.umem.frames)
            port.complete()

    def count(self, verdict: Verdict) -> int:
        return int(self.counters.values[1, 0, verdict])

    def seen(self) -> tuple[object, ...]:
        """All that can be told of it from outside."""
        held = [port.held() for port in self.ports]
        counts = self.counters.values.tolist(), self.tables.usage.values.tolist()
        return held, [port.sent for port in self.ports], *counts
