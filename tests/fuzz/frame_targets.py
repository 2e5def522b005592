"""Any frames at all through the whole pipeline, with either engine."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.capturefile import CaptureWriter
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from tests.fuzz import frames
from tests.fuzz.target import FuzzError
from tests.fuzz.watched import Watched
from tests.pipeline import built, worlds

if TYPE_CHECKING:
    import numpy.typing as npt

FRAMES: Final = 3072  # chunks of the worker
SEEDS: Final = 1024  # in stock at a time
STOCK_BURSTS: Final = 100  # then there are new ones
PORTS: Final = (worlds.ACCESS,) * 6 + (worlds.INTERNET,) * 3 + (worlds.TAGGED,)
BURSTS_PER_SECOND: Final = 8  # of the router's clock


class Idle(MemoryPort):
    """A port that receives only what is loaded: all other frames stay in the pool."""

    def refill_room(self) -> int:
        return 0


class Router:
    """A worker's engine, its steps under watch."""

    def __init__(self, engine: str) -> None:
        world = worlds.world()
        self.umem = Umem(FRAMES)
        tables, rules = built.tables(world), built.tunnel_rules(world)
        steps = Forwarder(FrameMemory(self.umem.memory), tables, rules, self.umem.pool)
        compiled = CompiledForwarder(self.umem.memory, tables, rules, steps)
        self.watched = Watched(compiled if engine == "compiled" else steps, self.umem)
        self.ports = [Idle(self.umem, f"port{n}", record=False) for n in range(len(world.ports))]
        self._counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        self._engine = Engine(self.umem, self.ports, self.watched, self._counters)

    def feed(
        self, octets: npt.NDArray[np.uint8], length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> None:
        """Let frames arrive; no frame may be lost, every packet be counted once."""
        chunks = self.umem.pool.take(len(length))
        assert len(chunks) == len(length), "no frames left: the pipeline keeps too many"
        rows = self.umem.octets.reshape(FRAMES, -1)
        wide = int(length.max())
        first = XDP_PACKET_HEADROOM
        rows[chunks // np.uint64(self.umem.chunk_size), first : first + wide] = octets[:, :wide]
        descs = np.zeros(len(length), DESC)
        descs["addr"], descs["len"] = chunks + np.uint64(first), length
        before = self.arrived()
        self.ports[port].load(descs)
        self._engine.turn(now_s)
        assert self.arrived() - before == len(length), "a packet was not counted, or twice"
        assert self._engine.missing() == 0, "a frame is missing"

    def arrived(self) -> int:
        """Packets that were counted because they came, and not because of what others did."""
        watched = self.watched
        counted = int(self._counters.totals()[0].sum())
        return counted - watched.made - watched.again - watched.noted

    def verdicts(self) -> dict[Verdict, int]:
        """Packets of every verdict."""
        packets = self._counters.totals()[0]
        return {verdict: int(packets[verdict]) for verdict in Verdict}


@dataclasses.dataclass(frozen=True, slots=True)
class FrameTarget:
    """The pipeline with one of its engines."""

    name: str
    engine: Literal["numpy", "compiled"]

    def run(self, inputs: int, seed: int) -> None:
        """Feed at least so many frames; the same `seed` gives the same ones."""
        self.fed(inputs, seed)

    def fed(self, inputs: int, seed: int) -> Router:
        """As `run`; the router as it is then."""
        router = Router(self.engine)
        dice, fast = random.Random(f"frames {seed}"), np.random.default_rng(seed)
        fed = number = 0
        stock = frames.Stock.build(dice, SEEDS)
        while fed < inputs:
            number += 1
            if number % STOCK_BURSTS == 0:
                stock = frames.Stock.build(dice, SEEDS)
            octets, length = frames.burst(stock, fast)
            port = dice.choice(PORTS)
            try:
                router.feed(octets, length, port, worlds.NOW_S + number // BURSTS_PER_SECOND)
            except Exception as error:
                saved = _save(octets, length)
                text = f"{self.name}: burst {number} (in {saved}): {type(error).__name__}: {error}"
                raise FuzzError(text) from error
            fed += len(length)
        return router


def _save(octets: npt.NDArray[np.uint8], length: npt.NDArray[np.int64]) -> Path:
    path = Path(tempfile.mkdtemp(prefix="dstm-fuzz-")) / "burst.pcap"
    writer = CaptureWriter(path)
    for row, size in zip(octets, length.tolist(), strict=True):
        writer.write(row[:size].tobytes())
    writer.close()
    return path


TARGETS: Final = [FrameTarget("frames-numpy", "numpy"), FrameTarget("frames-compiled", "compiled")]
