"""A few seconds in memory that hold on any machine: only ratios within the run are checked.

    python -m perf ratios [--json] [--out FILE] [--runs N]

The compiled pass against the numpy steps, and a million bindings against a thousand, each way. What
is compared takes turns, CPU time counts, and of the runs the median. The bounds are less than half
of what is usual, so that a busy machine does not miss them: they find what is broken, not what has
become a tenth slower, which is for `perf compare`. The exit code is 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Final

from perf.cases import NUMPY, Case
from perf.figures import Figure
from perf.holdings import Holdings
from perf.results import add_output, report
from perf.rotation import POOL, Rotation, build

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSED: Final = 1  # exit code
FEW, MANY = 1000, 1_000_000  # bindings
RUNS: Final = 9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster one case must be than another."""

    name: str
    least: float
    case: Case
    than: Case


def ratios() -> list[Ratio]:
    """All that are checked."""
    made = []
    for way in ("encap", "decap"):
        many = Case(way=way, bindings=MANY)
        few = dataclasses.replace(many, bindings=FEW)
        alone = dataclasses.replace(many, engine=NUMPY)
        made += [
            Ratio(name=f"{way}: compiled, of numpy alone", least=1.5, case=many, than=alone),
            Ratio(
                name=f"{way}: a million bindings, of a thousand", least=0.25, case=many, than=few
            ),
        ]
    return made


def measure(checked: Sequence[Ratio], runs: int) -> list[Figure]:
    """How many times faster each is, pair by pair of runs that followed each other."""
    cases = list(dict.fromkeys(case for each in checked for case in (each.case, each.than)))
    holdings = {n: Holdings(POOL, n, sets=False) for n in {case.bindings for case in cases}}
    tables = {n: build(held) for n, held in holdings.items()}
    benches = {
        case: Rotation(case, holdings[case.bindings], tables[case.bindings]) for case in cases
    }
    for bench in benches.values():
        bench.run()  # the first walk finds pages and code cold
    times = [{case: bench.run() for case, bench in benches.items()} for _ in range(runs)]
    return [
        Figure(
            bench="ratios",
            work=each.name,
            unit="times",
            runs=[ns[each.than] / ns[each.case] for ns in times],
            burst=each.case.burst,
            bindings=each.case.bindings,
            frame=each.case.inner,
        )
        for each in checked
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse options, measure, print, check; return the exit code."""
    parser = argparse.ArgumentParser(prog="perf ratios", description=__doc__.split("\n", 1)[0])
    add_output(parser)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"(default {RUNS})")
    args = parser.parse_args(argv)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    checked = ratios()
    figures = measure(checked, args.runs)
    report("ratios, one core, in memory", figures, args)
    missed = [
        f"perf ratios: {each.name}: {figure.value:.2f} times as fast, expected {each.least} or more"
        for each, figure in zip(checked, figures, strict=True)
        if figure.value < each.least
    ]
    print("\n".join(missed), end="\n" if missed else "", file=sys.stderr)
    return MISSED if missed else 0
