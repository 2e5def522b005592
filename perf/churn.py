"""Bindings that change while a worker forwards as fast as it can: what it loses, and its pauses.

    python -m perf churn [--json] [--out FILE] [--runs N] [--seconds S] [--rate CHANGES/S] [--quick]

In memory, without ports: a worker process with a CPU of its own walks over frames in bursts, as
`perf.pipeline` does, on the shared tables of a router. This process is the supervisor: it applies
changes as one that comes from a feed or a push (`daemon.intake`), each set acknowledged by the
worker's quiescent point before the next. What is left out is ZeroMQ and the kernel's routes. The
packets are for exactly the addresses that change hands. With and without changes take turns.

- lost: how much lower the worker's rate is than without changes before and after, by its CPU time.
- longest pause: the longest that a burst took, by the clock. "Of its own": less the time that the
  worker waited because another process had its CPU. Both also without changes, because a host that
  takes the CPU away from a virtual machine makes pauses that nobody can tell from its own.
- dropped: packets with another verdict than "encapsulated".
- changes: by the clock; "per CPU" by the CPU time that the supervisor got.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import gc
import multiprocessing
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from dstmrouter.daemon.intake import Intake
from dstmrouter.daemon.shared import SharedTables, Sizes
from dstmrouter.io.umem import XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import covered_blocks
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.hops import FIXED_HOPS, HopState
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.zmqctl.update import BindingUpdate
from perf.changes import Changes, bindings
from perf.figures import Figure
from perf.gateway import CONTROL_CPU, NICE, POOL, WORKER_CPU
from perf.packets import encap_frames
from perf.rotation import RULES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from dstmrouter.binding import BindingColumns

FRAMES: Final = 2048
BURST: Final = 256
INNER_LEN: Final = 64
LEASES: Final = 1_000_000
CHANGED: Final = 65_536
DELTAS: Final = (1_000, 10_000)
HOP4, HOP6 = FIXED_HOPS, FIXED_HOPS + 1
ALONE: Final = "no changes"
SOURCE: Final = "perf"
SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")


@dataclasses.dataclass(frozen=True, slots=True)
class Walked:
    """What a worker did in one measurement; times in nanoseconds."""

    packets: int
    cpu: int
    longest: int  # that a burst took
    longest_own: int

    @property
    def mpps(self) -> float:
        """Packets per microsecond of CPU time."""
        return 1000 * self.packets / self.cpu


class Worker:
    """Forwards in memory; lives in a process of its own."""

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
        """Forward all frames again and again."""
        end = time.monotonic() + seconds
        packets = cpu = longest = longest_own = 0
        while time.monotonic() < end:
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
            counters.count(0, outcome.verdicts, length)
            turns.end(0)
            yield time.perf_counter_ns() - start


def waited_ns() -> int:
    """How long this thread could have run and did not, so far (proc(5), schedstat)."""
    try:
        return int(SCHEDSTAT.read_text().split()[1])
    except OSError:  # a kernel that does not tell
        return 0


class Router:
    """The supervisor's half, with a worker process; a context manager."""

    def __init__(self, leases: int, changed: int) -> None:
        assert RULES.tep4 is not None, "the rules of perf.pipeline"
        tep4 = int(RULES.tep4)
        blocks = len(covered_blocks([POOL], tep4)) + 1
        sizes = Sizes(workers=1, blocks=blocks, leases=leases, hops=FIXED_HOPS + 2, routes=1)
        self._shared = shared = SharedTables.create(sizes)
        shared.lay_out([POOL], tep4)
        tables = shared.tables
        for port, hop in enumerate((HOP4, HOP6)):
            tables.hops.set(hop, bytes.fromhex(f"02000000010{port}"), port, HopState.RESOLVED)
            mac = bytes.fromhex(f"02000000000{port}")
            tables.ports.set(port, mac=mac, mtu=1500, vlan=None)
        tables.routes4.publish(np.zeros(1, np.uint32), np.full(1, HOP4, np.uint32))
        writer = BindingWriter(
            tables.bindings,
            shared.turns,
            RULES.tep6,
            lambda client6: np.full(len(client6), HOP6, np.uint32),
        )
        writer.on_bound = tables.clients6.add
        self._intake = Intake(
            tables.bindings, writer, shared.turns, sizes.spare_rows // 2, lambda: 0
        )
        asyncio.run(self._apply(bindings(leases, 0)))
        context = multiprocessing.get_context("fork")  # it inherits the tables
        self._orders, theirs = context.Pipe()
        self._process = context.Process(
            target=lambda: Worker(shared, changed).serve(theirs), daemon=True
        )

    async def _apply(self, columns: BindingColumns) -> int:
        update = BindingUpdate(
            source=SOURCE, replace=False, columns=columns, epoch=b"", generation=0
        )
        result = await self._intake.apply(update)
        assert not result.refused, result
        return result.applied

    def dropped(self) -> int:
        """Packets so far that were not encapsulated."""
        packets, _ = self._shared.counters.totals()
        return int(packets.sum() - packets[Verdict.ENCAPSULATED])

    def walk(self, seconds: float) -> Walked:
        """Let the worker forward."""
        self._orders.send(seconds)
        walked = self._orders.recv()
        assert isinstance(walked, Walked)
        return walked

    def walk_while(self, seconds: float, changes: Changes) -> tuple[Walked, float, float]:
        """Let the worker forward while bindings change; also return changes/s, by clock and CPU."""
        rates = asyncio.run(self._change(seconds, changes))
        walked = self._orders.recv()
        assert isinstance(walked, Walked)
        return walked, *rates

    async def _change(self, seconds: float, changes: Changes) -> tuple[float, float]:
        self._orders.send(seconds)
        began, cpu, done = time.monotonic(), time.process_time(), 0
        while not self._orders.poll():
            await asyncio.sleep(changes.wait_s())
            done += await self._apply(changes.next())
        return done / (time.monotonic() - began), done / (time.process_time() - cpu)

    def __enter__(self) -> Self:
        self._process.start()
        self._orders.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.send(None)
        self._process.join()


# What is measured ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this bench."""
    parser.add_argument("--runs", type=int, default=5, help="runs per figure (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (default 1)")
    parser.add_argument("--rate", type=float, default=5e5, help="changes/s where they are paced")
    parser.add_argument("--leases", type=int, default=LEASES, help="(default 1,000,000)")
    parser.add_argument("--quick", action="store_true", help="one short run with 20,000 leases")


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """All figures; whatever is compared takes turns."""
    runs, seconds, leases, changed = args.runs, args.seconds, args.leases, CHANGED
    if args.quick:
        runs, seconds, leases, changed = 1, 0.2, 20_000, 4096
    os.sched_setaffinity(0, {CONTROL_CPU})
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    found: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    with Router(leases, changed) as router:
        states = {
            f"by {delta:,}, {'as fast as it goes' if rate is None else f'{rate:,.0f}/s'}": Changes(
                changed, delta, rate
            )
            for delta in DELTAS
            for rate in (args.rate, None)
        }
        for run in range(runs):
            progress(f"churn: run {run + 1} of {runs}")
            for name, changes in states.items():
                _measure(router, seconds, name, changes, found)
    return [
        Figure(bench="churn", work=work, unit=unit, runs=values, burst=BURST, bindings=leases)
        for (work, unit), values in found.items()
    ]


def _measure(
    router: Router,
    seconds: float,
    name: str,
    changes: Changes,
    found: dict[tuple[str, str], list[float]],
) -> None:
    """One turn: without changes, with them, without them."""
    before, dropped = router.walk(seconds / 2), router.dropped()
    during, rate, rate_cpu = router.walk_while(seconds, changes)
    after = router.walk(seconds / 2)
    alone = Walked(
        before.packets + after.packets,
        before.cpu + after.cpu,
        max(before.longest, after.longest),
        max(before.longest_own, after.longest_own),
    )
    for state, walked in ((ALONE, alone), (name, during)):
        found[f"{state}: forwarded", "Mpps"].append(walked.mpps)
        found[f"{state}: longest pause", "us"].append(walked.longest / 1000)
        found[f"{state}: longest pause of its own", "us"].append(walked.longest_own / 1000)
    found[f"{name}: changes", "changes/s"].append(rate)
    found[f"{name}: changes per CPU", "changes/s"].append(rate_cpu)
    found[f"{name}: lost", "%"].append(100 * (1 - during.mpps / alone.mpps))
    found[f"{name}: dropped", "packets"].append(router.dropped() - dropped)
