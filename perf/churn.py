"""Bindings that change while a worker forwards as fast as it can: what it loses, and its pauses.

    python -m perf churn [--json] [--out FILE] [--runs N] [--seconds S] [--rate CHANGES/S] [--quick]

In memory, without ports: a worker process with a CPU of its own walks over frames in bursts, as
`perf.pipeline` does, on the shared tables of a router. This process is the supervisor: it applies
changes as one that comes from a feed or a push (`daemon.intake`), each set acknowledged by the
worker's quiescent point before the next. What is left out is ZeroMQ and the kernel's routes. The
packets are for exactly the addresses that change hands. With and without changes take turns.

- lost: how much lower the worker's rate is than without changes before and after, by its CPU time.
  "Another table": the same changes of one that the worker does not use. What it loses by these, it
  loses to a neighbour that is at work (caches, memory, hardware threads) and not to the changes.
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
import multiprocessing
import time
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from dstmrouter.daemon.intake import Intake
from dstmrouter.daemon.shared import SharedTables, Sizes
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import covered_blocks
from dstmrouter.pipeline.hops import FIXED_HOPS, HopState
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.zmqctl.update import BindingUpdate
from perf.changes import Changes, bindings
from perf.figures import Figure
from perf.gateway import POOL, settle_in
from perf.rotation import RULES
from perf.walker import BURST, INNER_LEN, Walked, Walker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from dstmrouter.binding import BindingColumns

LEASES: Final = 1_000_000
CHANGED: Final = 65_536
SMALL, LARGE = 1_000, 10_000  # changes in a set
HOP4, HOP6 = FIXED_HOPS, FIXED_HOPS + 1
ALONE: Final = "no changes"
ELSEWHERE: Final = "of another table"
SOURCE: Final = "perf"


class Supervisor:
    """Shared tables for one worker, and who changes their bindings."""

    def __init__(self, leases: int) -> None:
        assert RULES.tep4 is not None, "the rules of perf.rotation"
        tep4 = int(RULES.tep4)
        blocks = len(covered_blocks([POOL], tep4)) + 1
        sizes = Sizes(workers=1, blocks=blocks, leases=leases, hops=FIXED_HOPS + 2, routes=1)
        self.shared = shared = SharedTables.create(sizes)
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
        asyncio.run(self.apply(bindings(leases, 0)))

    async def apply(self, columns: BindingColumns) -> int:
        """Change bindings; return how many, when the worker uses them."""
        update = BindingUpdate(
            source=SOURCE, replace=False, columns=columns, epoch=b"", generation=0
        )
        result = await self._intake.apply(update)
        assert not result.refused, result
        return result.applied

    def dropped(self) -> int:
        """Packets so far that were not encapsulated."""
        packets, _ = self.shared.counters.totals()
        return int(packets.sum() - packets[Verdict.ENCAPSULATED])


class Bench:
    """A worker process on the tables of one supervisor, and another supervisor without; a context.

    The order to walk is a number of seconds, and None to end.
    """

    def __init__(self, leases: int, changed: int) -> None:
        self.supervisor, self.another = Supervisor(leases), Supervisor(leases)
        context = multiprocessing.get_context("fork")  # it inherits the tables
        self._orders, theirs = context.Pipe()
        walk = Walker(self.supervisor.shared, changed).serve
        self._process = context.Process(target=walk, args=(theirs,), daemon=True)

    def walk(self, seconds: float) -> Walked:
        """Let the worker forward."""
        self._orders.send(seconds)
        return self._walked()

    def _walked(self) -> Walked:
        walked = self._orders.recv()
        assert isinstance(walked, Walked)
        return walked

    async def walk_while(
        self, seconds: float, supervisor: Supervisor, changes: Changes
    ) -> tuple[Walked, float, float]:
        """Let the worker forward while bindings change; also return changes/s, by clock and CPU."""
        self._orders.send(seconds)
        began, cpu, done = time.monotonic(), time.process_time(), 0
        while not done or not self._orders.poll():
            await asyncio.sleep(changes.wait_s())
            done += await supervisor.apply(changes.next())
        rates = done / (time.monotonic() - began), done / (time.process_time() - cpu)
        return self._walked(), *rates

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
    with contextlib.suppress(PermissionError):  # without root, as one of many
        settle_in()
    found: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    pace = f"{args.rate:,.0f}/s"
    with Bench(leases, changed) as bench:
        states = {
            f"by {SMALL:,}, as fast as it goes": (bench.supervisor, SMALL, None),
            f"by {LARGE:,}, as fast as it goes": (bench.supervisor, LARGE, None),
            f"by {LARGE:,}, {pace}": (bench.supervisor, LARGE, args.rate),
            f"by {LARGE:,}, {pace}, {ELSEWHERE}": (bench.another, LARGE, args.rate),
        }
        changes = {name: Changes(changed, *what) for name, (_, *what) in states.items()}
        for run in range(runs):
            progress(f"churn: run {run + 1} of {runs}")
            for name, (supervisor, *_) in states.items():
                _measure(bench, seconds, name, (supervisor, changes[name]), found)
    fields = {"burst": BURST, "bindings": leases, "frame": INNER_LEN}
    return [
        Figure(bench="churn", work=work, unit=unit, runs=values, **fields)
        for (work, unit), values in found.items()
    ]


def _measure(
    bench: Bench,
    seconds: float,
    name: str,
    what: tuple[Supervisor, Changes],
    found: dict[tuple[str, str], list[float]],
) -> None:
    """One turn: without changes, with them, without them."""
    before, dropped = bench.walk(seconds / 2), bench.supervisor.dropped()
    during, rate, rate_cpu = asyncio.run(bench.walk_while(seconds, *what))
    alone = before + bench.walk(seconds / 2)
    for state, walked in ((ALONE, alone), (name, during)):
        found[f"{state}: forwarded", "Mpps"].append(walked.mpps)
        found[f"{state}: longest pause", "us"].append(walked.longest / 1000)
        found[f"{state}: longest pause of its own", "us"].append(walked.longest_own / 1000)
    found[f"{name}: changes", "changes/s"].append(rate)
    found[f"{name}: changes per CPU", "changes/s"].append(rate_cpu)
    found[f"{name}: lost", "%"].append(100 * (1 - during.mpps / alone.mpps))
    found[f"{name}: dropped", "packets"].append(bench.supervisor.dropped() - dropped)
