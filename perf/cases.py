"""What `perf.pipeline` measures: which packets, how many at a time, through which engine.

A figure is known by the name of its work and by its burst, bindings, flows, frames in rotation and
inner packet, which stand in fields of their own. The names of works are:

| name | packets |
|---|---|
| `encap`, `decap` | to and from clients that have whole addresses |
| `encap, port sets`, `decap, port sets` | to and from clients that have port sets |
| `encap, IMIX`, `decap, IMIX` | of three lengths (`IMIX`); no `frame` is given |
| `encap, 1 % unbound` | the same with addresses that nobody holds, sources at random |
| `unbound` | to addresses that nobody holds only, sources at random |
| `unbound, one source` | the same, all from one host |
| ..., `ring to ring` | through whole turns of a worker, see `perf.turns` |
| ..., `two workers` | the sum of two processes that run at the same time, each on a CPU |
| ..., `numpy alone` | through the numpy steps without the compiled pass |
"""

from __future__ import annotations

import dataclasses
from typing import Final

from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder

IMIX: Final = ((64, 7), (576, 4), (1460, 1))
"""Octets of inner packets and how many of each: the largest fills a tunnel over 1,500 octets."""

COMPILED: Final = CompiledForwarder.engine
NUMPY: Final = Forwarder.engine
NARROW: Final = 1024  # frames in rotation: what a worker needs that is not behind
WIDE: Final = 60_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the result."""

    way: str  # "encap" or "decap"
    burst: int = 256
    bindings: int = 1_000_000
    flows: int = 1000  # as many clients, as far as there are
    frames: int = NARROW
    inner: int | None = 64  # octets of the inner packets; None is the IMIX
    sets: bool = False  # clients have port sets
    unbound: float = 0.0  # part of the packets, to the Internet's side only
    one_source: bool = False  # of those
    rings: bool = False  # from ring to ring, as a worker does it
    workers: int = 1
    engine: str = COMPILED

    @property
    def work(self) -> str:
        """The name, as the docstring has it."""
        name = "unbound" if self.unbound == 1 else self.way
        if 0 < self.unbound < 1:
            name += f", {self.unbound * 100:.0f} % unbound"
        for said, words in (
            (self.one_source, "one source"),
            (self.sets, "port sets"),
            (self.inner is None, "IMIX"),
            (self.rings, "ring to ring"),
            (self.workers > 1, "two workers"),
            (self.engine == NUMPY, "numpy alone"),
        ):
            name += f", {words}" if said else ""
        return name

    def reduced(self, bindings: int) -> Case:
        """The same with fewer bindings, and no more frames and flows than these would show."""
        return dataclasses.replace(
            self,
            bindings=min(self.bindings, bindings),
            flows=min(self.flows, 4 * NARROW),
            frames=min(self.frames, 4 * NARROW),
        )


def _both(**what: object) -> list[Case]:
    return [Case(way=way, **what) for way in ("encap", "decap")]  # type: ignore[arg-type]


AIMS: Final = [
    *_both(),
    *_both(flows=WIDE, frames=WIDE),
    *_both(sets=True),
    *_both(sets=True, flows=WIDE, frames=WIDE),
    *_both(inner=550),
    *_both(inner=None),
    *_both(burst=1),
    *_both(burst=1024, engine=NUMPY),
    *_both(workers=2),
    *_both(rings=True),
    Case(way="encap", unbound=0.01, rings=True),
    Case(way="encap", unbound=1.0),
    Case(way="encap", unbound=1.0, one_source=True),
]
"""What the project wants to reach something in."""

SCALING: Final = [
    case
    for bindings in (1, 65_536, 1_000_000)
    for burst in (1, 16, 64, 256, 1024)
    for engine in (COMPILED, NUMPY)
    for case in _both(bindings=bindings, burst=burst, engine=engine)
]
"""By bindings and bursts, as RFC 8219 section 4.2 asks for with tunnels."""
