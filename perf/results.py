"""Results files: the figures of one run, with where and how they were measured.

    {"format": "dstmrouter-perf", "version": 1, "environment": {...}, "figures": [{...}, ...]}

`environment` is what `perf.environment` tells. A figure is the JSON line of `perf.figures`: `value`
is the median of `runs`. All its other fields but these two and `load`, a rate that was reached, say
what was measured: figures of two files that agree in them are the same. So readers need no list of
the fields.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perf.environment import Begun, describe
from perf.figures import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perf.figures import Figure

FORMAT: Final = "dstmrouter-perf"
VERSION: Final = 1
MEASURED: Final = ("value", "runs")
REACHED: Final = ("load",)  # said of a figure, and no part of its name
_OURS: Final = ("begun", "out", "json")  # options that change no figure


class ResultsError(Exception):
    """A file that holds no results; the text says which and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One figure of a file. `fields` are what it is of, those that do not apply left out."""

    fields: Mapping[str, str | int | float]
    runs: Sequence[float]

    @property
    def key(self) -> Key:
        """Equal for the same figure of two files."""
        return tuple(sorted(pair for pair in self.fields.items() if pair[0] not in REACHED))

    @property
    def value(self) -> float:
        """Median of the runs."""
        return statistics.median(self.runs)

    @property
    def work(self) -> str:
        """What was done."""
        return str(self.fields["work"])

    @property
    def unit(self) -> str:
        """What the values are counted in."""
        return str(self.fields["unit"])

    def says(self, **wanted: str | int | None) -> bool:
        """Whether all these fields are so; None for those that must not apply."""
        return all(self.fields.get(name) == value for name, value in wanted.items())


Key = tuple[tuple[str, str | int | float], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Results:
    """A file that has been read."""

    name: str
    environment: Mapping[str, Any]
    rows: Sequence[Row]


# Writing ------------------------------------------------------------------------------------------


def shared_options(name: str, doc: str, runs: int) -> argparse.ArgumentParser:
    """The options that all our scripts share; `doc` is the script's docstring."""
    parser = argparse.ArgumentParser(prog=f"perf {name}", description=doc.split("\n", 1)[0])
    add_output(parser)
    parser.add_argument("--runs", type=int, default=runs, help=f"runs per figure (default {runs})")
    return parser


def add_output(parser: argparse.ArgumentParser) -> None:
    """The options of every bench for what becomes of its figures; it begins with this call."""
    parser.add_argument("--json", action="store_true", help="one JSON object per line and figure")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a results file, too")
    parser.set_defaults(begun=Begun.now())


def report(title: str, figures: Sequence[Figure], args: argparse.Namespace) -> None:
    """Print the figures, and write them to the file that `--out` names."""
    show(title, figures, as_json=args.json)
    if args.out is not None:
        options = {name: value for name, value in vars(args).items() if name not in _OURS}
        write(args.out, figures, describe(args.begun, _command(), options))


def _command() -> list[str]:
    """As it was typed, without where Python is."""
    return ["python", *sys.orig_argv[1:]]


def write(path: Path, figures: Sequence[Figure], environment: Mapping[str, Any]) -> None:
    """Write a results file, and the directory it is in."""
    lines = ",\n  ".join(figure.as_json() for figure in figures)
    head = {"format": FORMAT, "version": VERSION, "environment": environment}  # one key a line
    text = json.dumps(head, indent=1).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{text},\n "figures": [\n  {lines}\n ]\n}}\n')


# Reading ------------------------------------------------------------------------------------------


def read_all(paths: Sequence[Path]) -> list[Results]:
    """Read files, named by as little of their paths as tells them apart; raises as `read`."""
    stems = [path.stem for path in paths]
    short = len(set(stems)) == len(stems)
    return [
        found if short else dataclasses.replace(found, name=str(path.with_suffix("")))
        for path, found in zip(paths, map(read, paths), strict=True)
    ]


def read(path: Path) -> Results:
    """Read a results file. Raises ResultsError for what is none."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path}: no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ResultsError(f'{path}: no results of perf: "format" is not "{FORMAT}"')
    if found.get("version") != VERSION:
        raise ResultsError(f"{path}: version {found.get('version')!r}, expected {VERSION}")
    environment, figures = found.get("environment"), found.get("figures")
    if not isinstance(environment, dict) or not isinstance(figures, list):
        raise ResultsError(f'{path}: expected "environment" and a list of "figures"')
    rows = [_row(each, f"{path}: figure {number}") for number, each in enumerate(figures, 1)]
    return Results(path.stem, environment, rows)


def _row(figure: object, where: str) -> Row:
    if not isinstance(figure, dict):
        raise ResultsError(f"{where}: expected an object")
    runs = figure.get("runs")
    if not isinstance(runs, list) or not runs or not all(map(_is_number, runs)):
        raise ResultsError(f'{where}: "runs" is no list of numbers')
    fields = {name: value for name, value in figure.items() if name not in MEASURED}
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in ("bench", "work", "unit"):
        if not isinstance(fields.get(name), str):
            raise ResultsError(f'{where}: "{name}" is no text')
    for name, value in fields.items():
        if not isinstance(value, str | int | float):
            raise ResultsError(f'{where}: "{name}" is neither text nor number')
    return Row(fields, runs)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
