"""Packets per second through the pipeline on one core, in memory: all checks, counters included.

    python -m perf pipeline [--json] [--out FILE] [--runs N] [--scaling] [--quick]

What is measured are the cases of `perf.cases`, where the names of works are told, too; how, is told
by `perf.rotation`. The cases take turns, so that a slow moment of the machine hits all of them.
Every case gives two figures, in Mpps and in ns/packet. `--scaling` measures by bindings and bursts
in place of what the project has aims for.

"unbound" is a flood from all over the Internet to addresses that nobody holds, with ICMP errors on
and their default limits: 1,000 host unreachable a second are made, and the others counted. "One
source" has 10 a second, and the limit of the prefix to be asked about each packet.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from perf.cases import AIMS, SCALING
from perf.figures import Figure
from perf.holdings import Holdings
from perf.results import report, shared_options
from perf.rotation import POOL, Rotation, build
from perf.turns import Turns
from perf.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perf.cases import Case

QUICK_BINDINGS: Final = 65_536


def measure(cases: Sequence[Case], runs: int, cpus: Sequence[int]) -> Iterator[Figure]:
    """The figures of cases that have the same number of bindings; `cpus` are those to use."""
    (bindings,) = {case.bindings for case in cases}
    holdings = {sets: Holdings(POOL, bindings, sets=sets) for sets in {c.sets for c in cases}}
    tables = {sets: build(held) for sets, held in holdings.items()}
    os.sched_setaffinity(0, {max(cpus)})
    benches: dict[Case, Rotation | Workers] = {}
    for case in cases:
        what = case, holdings[case.sets], tables[case.sets]
        if case.workers == 1:
            benches[case] = Turns(*what) if case.rings else Rotation(*what)
        else:
            benches[case] = Workers(*what, [cpus[n % len(cpus)] for n in range(case.workers)])
        benches[case].run()  # the first walk finds pages and code cold
    times: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(runs):
        for case, bench in benches.items():
            times[case].append(bench.run())
    for case, ns in times.items():
        yield _figure(case, "Mpps", [1000 / each for each in ns])
        yield _figure(case, "ns/packet", ns)


def _figure(case: Case, unit: str, runs: list[float]) -> Figure:
    return Figure(
        bench="pipeline",
        work=case.work,
        unit=unit,
        runs=runs,
        burst=case.burst,
        bindings=case.bindings,
        frame=case.inner,
        flows=min(case.flows, case.bindings),
        frames=case.frames,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("pipeline", __doc__, 5)
    parser.add_argument("--scaling", action="store_true", help="by bindings and bursts instead")
    parser.add_argument("--quick", action="store_true", help="one run, 65,536 bindings at most")
    args = parser.parse_args(argv)
    cases = SCALING if args.scaling else AIMS
    if args.quick:
        cases = [case.reduced(QUICK_BINDINGS) for case in cases]
    cpus = sorted(os.sched_getaffinity(0))
    figures: list[Figure] = []
    for bindings in sorted({case.bindings for case in cases}):
        several = [case for case in dict.fromkeys(cases) if case.bindings == bindings]
        figures += measure(several, 1 if args.quick else args.runs, cpus)
    report("pipeline, one core, in memory", figures, args)


if __name__ == "__main__":
    main()
