"""Plots of results files: loss curves, latency distributions, scaling with bindings.

    python -m perf plot RESULT.json [...] --to DIRECTORY [--format png|svg|pdf]

A plot is made of every kind that the results have figures for, a panel for each work, a line for
each of its other parameters and for each file; bands are lowest and highest of the runs.

- loss: what was lost by what was offered, of figures with a `load`.
- latency: of figures with a `percentile`; 90, 99 and 99.9 % are as far apart as the next nine.
- scaling: packets per second by the number of bindings.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perf.results import ResultsError, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perf.results import Results, Row

FAILED: Final = 2  # exit code
COLUMNS: Final = 3  # panels side by side, at most
PANEL: Final = (5.0, 3.6)  # inches
NINES: Final = {0: "min", 50: "50", 90: "90", 99: "99", 99.9: "99.9", 99.99: "99.99", 100: "max"}


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One kind of plot: figures that differ in one field, over which they are drawn."""

    name: str
    by: str  # the field
    units: tuple[str, ...]  # other figures with this field are left out; () for all units
    label: str  # of the axis
    log: bool = False
    along: tuple[str, ...] = ()  # fields that change with it: few bindings have few flows
    words: str = "$^"  # where a name of work tells of the field, what it says


KINDS: Final = (
    Kind("loss", "load", ("%",), "offered (Mpps)", words=r" at [\d.]+ %"),
    Kind("latency", "percentile", (), "percentile", along=("load",), words=r" (min|max|p[\d.]+)$"),
    Kind(
        "scaling",
        "bindings",
        ("Mpps",),
        "bindings",
        log=True,
        along=("flows",),
        words=r" [\d,]+ bindings",
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """Points in the order of their field."""

    panel: str
    label: str
    unit: str
    x: Sequence[float]
    rows: Sequence[Row]


def lines(files: Sequence[Results], kind: Kind) -> list[Line]:
    """What is to be drawn: everything of this kind with more than one point."""
    groups: dict[tuple[str, tuple[Any, ...]], list[Row]] = {}
    for each in files:
        for row in each.rows:
            x = row.fields.get(kind.by)
            if isinstance(x, str | None) or (kind.units and row.unit not in kind.units):
                continue
            apart = {**row.fields, "work": re.sub(kind.words, "", row.work)}
            rest = tuple(sorted(p for p in apart.items() if p[0] not in {kind.by, *kind.along}))
            groups.setdefault((each.name, rest), []).append(row)
    groups = {name: rows for name, rows in groups.items() if len(rows) > 1}
    common = _constant([dict(rest) for _, rest in groups])
    several = len({name for name, _ in groups}) > 1
    return [
        _line(kind, name if several else "", common, rows) for (name, _), rows in groups.items()
    ]


def _constant(names: Sequence[Mapping[str, Any]]) -> set[str]:
    """The fields that are the same everywhere and need no word in a legend."""
    every = set().union(*names) if names else set()
    return {field for field in every if len({name.get(field) for name in names}) == 1}


def _line(kind: Kind, file: str, common: set[str], rows: Sequence[Row]) -> Line:
    rows = sorted(rows, key=lambda row: row.fields[kind.by])
    hidden = common | {kind.by, *kind.along, "bench", "work", "unit"}
    words = [f"{k} {v}" for k, v in sorted(rows[0].fields.items()) if k not in hidden]
    return Line(
        panel=f"{rows[0].fields['bench']}: {re.sub(kind.words, '', rows[0].work)}",
        label=", ".join([*words, *([file] if file else [])]),
        unit=rows[0].unit,
        x=[float(row.fields[kind.by]) for row in rows],
        rows=rows,
    )


# Drawing ------------------------------------------------------------------------------------------


def nines(percentile: float, most: float) -> float:
    """Where a percentile stands on an axis: a step for each further nine; 100 beyond `most`."""
    if percentile >= 100:
        return nines(most, most) + 1
    return -math.log10(1 - percentile / 100)


def draw(drawn: Sequence[Line], kind: Kind) -> Any:
    """A matplotlib figure with all panels."""
    from matplotlib.figure import Figure as Canvas  # optional, and slow to import

    panels: dict[str, list[Line]] = {}
    for line in drawn:
        panels.setdefault(line.panel, []).append(line)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    canvas = Canvas(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = list(canvas.subplots(rows, columns, squeeze=False).flat)
    for axis, (name, several) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, name, several, kind)
    for axis in axes[len(panels) :]:
        axis.remove()
    return canvas


def _draw_panel(axis: Any, name: str, several: Sequence[Line], kind: Kind) -> None:
    finite = [x for line in several for x in line.x if x < 100]
    for line in several:
        x = [nines(p, max(finite, default=0)) for p in line.x] if _is_latency(kind) else line.x
        axis.plot(x, [row.value for row in line.rows], marker=".", label=line.label)
        lowest = [min(row.runs) for row in line.rows]
        axis.fill_between(x, lowest, [max(row.runs) for row in line.rows], alpha=0.2)
    axis.set(title=name, xlabel=kind.label, ylabel=several[0].unit)
    if kind.log:
        axis.set_xscale("log")
    if _is_latency(kind) and all(min(row.runs) > 0 for line in several for row in line.rows):
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, None)
    if _is_latency(kind):
        used = {p: word for p, word in NINES.items() if any(p in line.x for line in several)}
        axis.set_xticks([nines(p, max(finite, default=0)) for p in used], [*used.values()])
    axis.grid(alpha=0.3)
    if any(line.label for line in several):
        axis.legend(fontsize="x-small")


def _is_latency(kind: Kind) -> bool:
    return kind.by == "percentile"


def write_all(files: Sequence[Results], directory: Path, suffix: str) -> Iterator[Path]:
    """Write a file for every kind of plot that there are figures for."""
    for kind in KINDS:
        drawn = lines(files, kind)
        if drawn:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{kind.name}.{suffix}"
            draw(drawn, kind).savefig(path)
            yield path


def main(argv: Sequence[str] | None = None) -> int:
    """Parse options, write plots, print their names; return the exit code."""
    parser = argparse.ArgumentParser(prog="perf plot", description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results")
    parser.add_argument("--to", type=Path, required=True, metavar="DIRECTORY", help="where to")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png")
    args = parser.parse_args(argv)
    try:
        written = list(write_all(read_all(args.files), args.to, args.format))
    except ResultsError as error:
        parser.error(str(error))
    except ModuleNotFoundError as error:
        print(f"perf plot: {error}: pip install 'dstmrouter[perf]'", file=sys.stderr)
        return FAILED
    for path in written:
        print(path)
    if not written:
        print("perf plot: no figures with a load, percentiles or several bindings", file=sys.stderr)
    return 0 if written else FAILED
