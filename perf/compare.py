"""Compare results files: medians, spread, and the ratio to the first file.

    python -m perf compare BEFORE.json AFTER.json [...] [--iqr] [--fail-below RATIO] [--only TEXT]

`times` is how many times better a median is than that of the first file, whichever way its unit
gets better: 0.90 is a tenth worse, for packets per second as for nanoseconds. With `--fail-below
0.9` the exit code is 1 if any figure is less than that; it is 2 if there is nothing to compare.
Figures that one of the files lacks are named and do not fail; neither do zeros, which have no
ratio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perf.betterment import better, improvement
from perf.results import REACHED, Results, ResultsError, Row, read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Where two runs must be alike for their figures to say something of the software.
ALIKE: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "processor": lambda e: e.get("machine", {}).get("cpu"),
    "number of CPUs": lambda e: e.get("machine", {}).get("cpus"),
    "caches": lambda e: e.get("machine", {}).get("caches"),
    "memory (MiB)": lambda e: e.get("machine", {}).get("memory_mib"),
    "virtual machine": lambda e: e.get("machine", {}).get("hypervisor"),
    "huge pages": lambda e: e.get("machine", {}).get("huge_pages"),
    "kernel": lambda e: e.get("kernel"),
    "python": lambda e: e.get("versions", {}).get("python"),
    "numpy": lambda e: e.get("versions", {}).get("numpy"),
    "numba": lambda e: e.get("versions", {}).get("numba"),
}
BUSY: Final = 1.0  # load average for each CPU before a run, above which figures are doubtful
REGRESSED, NOTHING = 1, 2  # exit codes


def differences(files: Sequence[Results]) -> Iterator[str]:
    """What the machines and programs of the files have not in common; a line for each."""
    first = files[0]
    for other in files[1:]:
        for what, of in ALIKE.items():
            here, there = of(dict(first.environment)), of(dict(other.environment))
            if here != there:
                yield f"{what}: {first.name} has {here}, {other.name} has {there}"
    for each in files:
        load = each.environment.get("load", {}).get("before", [0])[0]
        if load > BUSY * (each.environment.get("machine", {}).get("cpus") or 1):
            yield f"{each.name}: the machine was busy, load average {load:.1f}"


def in_common(files: Sequence[Results], only: str = "") -> list[list[Row]]:
    """The figures that all files have, a row of each file, in the order of the first."""
    by_key = [{row.key: row for row in each.rows if only in row.work} for each in files]
    shared = [key for key in by_key[0] if all(key in rows for rows in by_key[1:])]
    return [[rows[key] for rows in by_key] for key in shared]


def missing(files: Sequence[Results], only: str = "") -> Iterator[str]:
    """Figures that some files have and others lack; a line for each."""
    keys = [{row.key for row in each.rows} for each in files]
    told = set()
    for each in files:
        for row in each.rows:
            if row.key in told or only not in row.work:
                continue
            told.add(row.key)
            lacking = [f.name for f, have in zip(files, keys, strict=True) if row.key not in have]
            if lacking:
                yield f"not in {', '.join(lacking)}: {name(row)}, {row.unit}"


def name(row: Row) -> str:
    """What was measured, in a line."""
    rest = {k: v for k, v in row.fields.items() if k not in {"bench", "work", "unit", *REACHED}}
    details = ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in rest.items())
    return f"{row.fields['bench']}: {row.work}" + (f" ({details})" if details else "")


def spread(runs: Sequence[float], *, iqr: bool) -> tuple[float, float]:
    """Lowest and highest of the runs, or their quartiles."""
    if not iqr or len(runs) < 2:
        return min(runs), max(runs)
    low, _, high = statistics.quantiles(runs, n=4, method="inclusive")
    return low, high


def table(files: Sequence[Results], rows: Sequence[Sequence[Row]], *, iqr: bool) -> Table:
    """A line for each figure, three columns for each file."""
    made = Table(title="medians (" + ("quartiles" if iqr else "lowest..highest") + ")")
    made.add_column("figure", overflow="fold")
    made.add_column("unit")
    for number, each in enumerate(files):
        made.add_column(escape(each.name), justify="right")
        made.add_column("spread", justify="right")
        if number:
            made.add_column("times", justify="right")
    for figures in rows:
        first = figures[0]
        cells = [escape(name(first)), first.unit]
        for number, row in enumerate(figures):
            low, high = spread(row.runs, iqr=iqr)
            cells += [f"{row.value:,.4g}", f"{low:,.4g}..{high:,.4g}"]
            if number:
                times = improvement(first.value, row.value, better(first))
                cells.append("-" if times is None else f"{times:.2f}")
        made.add_row(*cells)
    return made


def regressions(
    files: Sequence[Results], rows: Sequence[Sequence[Row]], below: float
) -> Iterator[str]:
    """Figures less than `below` times as good as those of the first file; a line for each."""
    for first, *others in rows:
        for each, row in zip(files[1:], others, strict=True):
            times = improvement(first.value, row.value, better(first))
            if times is not None and times < below:
                yield (
                    f"{each.name}: {name(row)}: {first.value:,.4g} -> {row.value:,.4g} {row.unit},"
                    f" {times:.2f} times as good"
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse options, compare, print; return the exit code."""
    parser = argparse.ArgumentParser(prog="perf compare", description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the first one counts")
    parser.add_argument("--iqr", action="store_true", help="quartiles, not lowest and highest")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="figures with this in their work"
    )
    parser.add_argument(
        "--fail-below", type=_ratio, metavar="RATIO", help="exit code 1 if a figure is worse"
    )
    args = parser.parse_args(argv)
    if len(args.files) < 2:
        parser.error("expected two files or more")
    try:
        files = read_all(args.files)
    except ResultsError as error:
        parser.error(str(error))
    return _compare(files, args)


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0 and at most 1")
    return value


def _compare(files: Sequence[Results], args: argparse.Namespace) -> int:
    rows = in_common(files, args.only)
    console = Console(width=None if Console().is_terminal else 160)
    if rows:
        console.print(table(files, rows, iqr=args.iqr))
    for line in differences(files):
        print(f"not alike: {line}")
    for line in missing(files, args.only):
        print(line)
    if not rows:
        print("perf compare: the files have no figure in common", file=sys.stderr)
        return NOTHING
    worse = [] if args.fail_below is None else list(regressions(files, rows, args.fail_below))
    for line in worse:
        print(f"worse: {line}", file=sys.stderr)
    return REGRESSED if worse else 0
