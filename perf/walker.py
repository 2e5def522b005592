"""A worker without ports: walks over frames in memory in bursts, on the shared tables of a router.

It lives in a process of its own and forwards for as long as it is told through a pipe.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.umem import XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from perf.gateway import POOL, WORKER_CPU
from perf.packets import encap_frames
from perf.rotation import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from dstmrouter.daemon.shared import SharedTables

FRAMES: Final = 2048
BURST: Final = 256
INNER_LEN: Final = 64
SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")


@dataclasses.dataclass(frozen=True, slots=True)
class Walked:
    """What a worker did in one measurement; times in nanoseconds."""

    packets: int
    cpu: int
    longest: int  # that a burst took
    longest_own: int

    def __add__(self, other: Walked) -> Walked:
        """Both together."""
        return Walked(
            self.packets + other.packets,
            self.cpu + other.cpu,
            max(self.longest, other.longest),
            max(self.longest_own, other.longest_own),
        )

    @property
    def mpps(self) -> float:
        """Packets per microsecond of CPU time."""
        return 1000 * self.packets / self.cpu


class Walker:
    """Encapsulates packets to some of the first `changed` addresses of the pool."""

    def __init__(self, shared: SharedTables, changed: int) -> None:
        self._shared = shared
        self._umem = umem = Umem(2 * FRAMES)
        umem.pool.take(FRAMES)
        steps = Forwarder(FrameMemory(umem.memory), shared.tables, RULES, umem.pool)
        self._forwarder = CompiledForwarder(umem.memory, shared.tables, RULES, steps)
        rng = np.random.default_rng(7)
        clients = rng.integers(0, changed, FRAMES, dtype=np.uint32)
        ports = rng.integers(1024, 1 << 16, FRAMES).astype(np.uint16)
        ipv4 = np.uint32(int(POOL.network_address)) + clients
        self._packets = encap_frames(ipv4, ports, INNER_LEN, rng)
        order = rng.permutation(FRAMES).astype(np.intp)  # as frames come out of a busy pool
        self._at = order * umem.chunk_size + XDP_PACKET_HEADROOM
        self._length = np.full(FRAMES, self._packets.shape[1], np.int64)

    def serve(self, orders: Connection) -> None:
        """Forward for as many seconds as each order says, and answer; until None."""
        os.sched_setaffinity(0, {WORKER_CPU})
        gc.collect()
        gc.freeze()
        self.walk(0.1)
        orders.send(None)
        while (seconds := orders.recv()) is not None:
            orders.send(self.walk(seconds))

    def walk(self, seconds: float) -> Walked:
        """Forward all frames again and again, once at least."""
        end = time.monotonic() + seconds
        packets = cpu = longest = longest_own = 0
        while not packets or time.monotonic() < end:
            self._lay_out()
            waited, cpu_before = waited_ns(), time.thread_time_ns()
            for took in self._bursts():
                own = took
                if took > longest_own:
                    waited, before = waited_ns(), waited
                    own -= waited - before
                longest, longest_own = max(longest, took), max(longest_own, own)
            packets += FRAMES
            cpu += time.thread_time_ns() - cpu_before
        return Walked(packets, cpu, longest, longest_own)

    def _lay_out(self) -> None:
        frames = self._umem.octets.reshape(2 * FRAMES, -1)[:FRAMES]
        end = XDP_PACKET_HEADROOM + self._packets.shape[1]
        frames[:, XDP_PACKET_HEADROOM:end] = self._packets

    def _bursts(self) -> Iterator[int]:
        """Nanoseconds of each burst by the clock."""
        turns, counters = self._shared.turns, self._shared.counters
        for first in range(0, FRAMES, BURST):
            at, length = self._at[first : first + BURST], self._length[first : first + BURST]
            start = time.perf_counter_ns()
            turns.begin(0)
            outcome = self._forwarder.process(at, length, 0, 0)
            counters.count(0, outcome.verdicts, length, outcome.octets)
            turns.end(0)
            yield time.perf_counter_ns() - start


def waited_ns() -> int:
    """How long this thread could have run and did not, so far (proc(5), schedstat)."""
    try:
        return int(SCHEDSTAT.read_text().split()[1])
    except OSError:  # a kernel that does not tell
        return 0
