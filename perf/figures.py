"""One figure of a measurement: a row of a table for people, a JSON line for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, with which parameters; `value` is the median of `runs`."""

    bench: str
    work: str
    unit: str
    runs: Sequence[float]
    burst: int | None = None
    bindings: int | None = None
    frame: int | None = None
    flows: int | None = None  # clients that the packets are of
    frames: int | None = None  # frames in rotation
    percentile: float | None = None
    load: float | None = None  # what was offered, Mpps
    direction: str | None = None

    @property
    def value(self) -> float:
        """Median of the runs."""
        return statistics.median(self.runs)

    def as_json(self) -> str:
        """One line, with the fields that all our scripts share, and those that this one adds."""
        shared = {
            "bench": self.bench,
            "work": self.work,
            "burst": self.burst,
            "bindings": self.bindings,
            "frame": self.frame,
            "value": round(self.value, 4),
            "unit": self.unit,
            "runs": [round(run, 4) for run in self.runs],
        }
        own = {
            "flows": self.flows,
            "frames": self.frames,
            "percentile": self.percentile,
            "load": self.load,
            "direction": self.direction,
        }
        return json.dumps(shared | {name: n for name, n in own.items() if n is not None})


def stay_on_one_cpu() -> None:
    """Be the last of the CPUs that we may use, from now on."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def show(title: str, figures: Sequence[Figure], *, as_json: bool) -> None:
    """Print the figures: JSON lines, or a table with the spread of the runs."""
    if as_json:
        for figure in figures:
            print(figure.as_json())
        return
    table = Table(title=title)
    more = [name for name in ("flows", "frames") if any(getattr(f, name) for f in figures)]
    keyed = ["burst", "bindings", "frame", *more]
    for name in ("work", *keyed, "median", "min", "max", "unit"):
        table.add_column(name, justify="left" if name in {"work", "unit"} else "right")
    for f in figures:
        numbers = [getattr(f, name) for name in keyed]
        keys = ["" if v is None else f"{v:,}" for v in numbers]
        values = [f"{v:,.2f}" for v in (f.value, min(f.runs), max(f.runs))]
        table.add_row(f.work, *keys, *values, f.unit)
    Console(width=None if Console().is_terminal else 110).print(table)
