"""What it costs a worker to count usage by binding: nanoseconds a packet, off and on.

    python -m perf accounting [--json] [--out FILE] [--runs N] [--quick]

Cases and frames as in `perf.pipeline`; "ring to ring" is the way of a worker over AF_XDP. 60,000
flows are in as many frames, and then frames, rows and records of usage are in no cache. Off and on
take turns on the same frames and tables, and the cost is by what part of the forwarding rate on is
slower. "4 KiB" has the records of usage on such pages, as a router has them where the system has
set no huge ones aside.
"""

from __future__ import annotations

import dataclasses
import itertools
import mmap
import os
from typing import TYPE_CHECKING, Final

from dstmrouter.pipeline.usage import UsageTable
from perf.cases import NUMPY, WIDE, Case
from perf.figures import Figure
from perf.holdings import Holdings
from perf.results import report, shared_options
from perf.rotation import POOL, Rotation, build
from perf.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dstmrouter.pipeline.outcome import Tables

QUICK_BINDINGS: Final = 65_536
CASES: Final = [
    Case(way=way, sets=sets, **more)
    for more in (
        {"rings": True},
        {"rings": True, "flows": WIDE, "frames": WIDE},
        {"burst": 1024},
        {"burst": 1},
        {"burst": 1024, "engine": NUMPY},
    )
    for sets in (False, True)
    for way in ("encap", "decap")
]


def measure(cases: Sequence[Case], runs: int) -> Iterator[Figure]:
    """Three figures of each case; all of them have the same number of bindings."""
    (bindings,) = {case.bindings for case in cases}
    holdings = {sets: Holdings(POOL, bindings, sets=sets) for sets in (False, True)}
    tables = {sets: build(held) for sets, held in holdings.items()}
    small = {sets: dataclasses.replace(made, usage=_small(made)) for sets, made in tables.items()}
    both = {"": tables, ", 4 KiB": small}
    for case, (pages, made) in itertools.product(cases, both.items()):
        usage = made[case.sets].usage
        kind = Turns if case.rings else Rotation
        bench = kind(case, holdings[case.sets], made[case.sets])
        times: dict[bool, list[float]] = {False: [], True: []}
        for number in range(runs + 1):
            for counting, found in times.items():
                usage.turn(on=counting)
                took = bench.run()
                if number:  # the first walk finds pages and code cold
                    found.append(took)
        assert usage.values.any()
        costs = [100 * (1 - off / on) for off, on in zip(*times.values(), strict=True)]
        yield _figure(case, f"{pages}: off", "ns/packet", times[False])
        yield _figure(case, f"{pages}: on", "ns/packet", times[True])
        yield _figure(case, f"{pages}: cost", "% of the rate", costs)


def _small(tables: Tables) -> UsageTable:
    """Records of usage on ordinary pages."""
    rows = len(tables.bindings.rows)
    size = UsageTable.size(1, rows)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return UsageTable(memory, 1, rows)


def _figure(case: Case, state: str, unit: str, runs: list[float]) -> Figure:
    return Figure(
        bench="accounting",
        work=case.work + state,
        burst=case.burst,
        bindings=case.bindings,
        flows=case.flows,
        frames=case.frames,
        frame=case.inner,
        unit=unit,
        runs=runs,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("accounting", __doc__, 25)
    parser.add_argument("--quick", action="store_true", help="65,536 bindings, few flows, one run")
    args = parser.parse_args(argv)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    quick = [case.reduced(QUICK_BINDINGS) for case in CASES if case.flows < WIDE]
    figures = measure(quick, 1) if args.quick else measure(CASES, args.runs)
    report("usage by binding, one core, in memory", list(figures), args)


if __name__ == "__main__":
    main()
