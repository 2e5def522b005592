"""What the project wants to reach, and how much of it these results have.

    python -m perf aims RESULT.json [...] [--strict] [--markdown]

Each aim is computed from figures of results files, medians of their runs; where several files have
a figure, the last one counts. `times` is how many times better than wanted, whichever way the unit
gets better. An aim without its figures is not measured, and says which subcommand would. The exit
code is 0 whatever was reached; with `--strict` it is 1 if an aim is missed or was not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perf.betterment import Better, improvement
from perf.results import ResultsError, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perf.results import Key, Results, Row

MISSED: Final = 1  # exit code
MILLION: Final = 1_000_000
WIDE: Final = 60_000
NARROW: Final = 1024  # frames in rotation
WIDTH: Final = 160  # columns, where nobody looks
WAYS: Final = {"encap": "encapsulation", "decap": "decapsulation"}


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Names one figure: these fields must be as told, others may be anything."""

    bench: str
    work: str
    unit: str
    fields: Mapping[str, str | int | None] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"perf {self.bench.replace('-', ' ')}"

    def find(self, rows: Sequence[Row]) -> Row | None:
        """The figure, if there is one. Raises ResultsError if there are several."""
        named = {"bench": self.bench, "work": self.work, "unit": self.unit, **self.fields}
        found = [row for row in rows if row.says(**named)]
        if len(found) > 1:
            where = ", ".join(f"{name} {value}" for name, value in self.fields.items())
            raise ResultsError(
                f"{len(found)} figures of {self.bench} are {self.work!r}, {where or 'any'}"
            )
        return found[0] if found else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A number to reach: of one figure, or of one in parts of another of the same results."""

    name: str
    least: float | None = None
    most: float | None = None  # one of the two
    unit: str
    of: Wanted
    per: Wanted | None = None
    scale: float = 1.0  # from the figure's unit to ours

    @property
    def sense(self) -> Better:
        """Which way is better."""
        return Better.SMALLER if self.least is None else Better.LARGER

    @property
    def goal(self) -> float:
        """What is to be reached."""
        goal = self.most if self.least is None else self.least
        assert goal is not None, f"{self.name}: neither least nor most"
        return goal

    def reached(self, rows: Sequence[Row]) -> Reached | None:
        """What the figures say; None if one is not there."""
        found = [None if each is None else each.find(rows) for each in (self.of, self.per)]
        value, base = found
        if value is None or (self.per is not None and base is None):
            return None
        number = self.scale * value.value
        if base is not None:
            number = number / base.value if base.value else 0.0
        return Reached(self, number, min(len(row.runs) for row in found if row is not None))


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """What has become of an aim."""

    aim: Aim
    value: float
    runs: int

    @property
    def met(self) -> bool:
        """Whether it is as good as wanted."""
        goal = self.aim.goal
        return self.value <= goal if self.aim.sense is Better.SMALLER else self.value >= goal

    @property
    def times(self) -> float | None:
        """How many times as good; None at zero."""
        return improvement(self.aim.goal, self.value, self.aim.sense)


# The aims -----------------------------------------------------------------------------------------


def _pipeline(
    work: str, unit: str = "Mpps", *, wide: bool = False, **changed: int | None
) -> Wanted:
    load = {"flows": WIDE, "frames": WIDE} if wide else {"flows": 1000, "frames": NARROW}
    usual = {"burst": 256, "bindings": MILLION, "frame": 64}
    return Wanted("pipeline", work, unit, {**usual, **load, **changed})


def _rates() -> Iterator[Aim]:
    """Of normal packets in memory, and of those with port sets in parts of them."""
    for wide, load, goals in ((False, "", (30, 32)), (True, ", 60,000 flows and frames", (12, 14))):
        for (way, name), least in zip(WAYS.items(), goals, strict=True):
            whole = _pipeline(way, wide=wide)
            yield Aim(name=name + load, least=least, unit="Mpps", of=whole)
            sets = _pipeline(f"{way}, port sets", wide=wide)
            yield _share(f"{name}{load}: port sets, of whole addresses", 0.8, sets, whole)


def _share(name: str, least: float, of: Wanted, per: Wanted) -> Aim:
    return Aim(name=name, least=least, unit="", of=of, per=per)


def _sizes_and_bursts() -> Iterator[Aim]:
    for way, name in WAYS.items():
        usual, two = _pipeline(way), _pipeline(f"{way}, two workers")
        large, mixed = _pipeline(way, frame=550), _pipeline(f"{way}, IMIX", frame=None)
        one = _pipeline(way, "ns/packet", burst=1)
        alone = _pipeline(f"{way}, numpy alone", burst=1024)
        yield _share(f"{name}: 550 octets, of 64", 0.8, large, usual)
        yield _share(f"{name}: IMIX, of 64", 0.8, mixed, usual)
        yield Aim(name=f"{name}: a burst of one packet", most=5, unit="us", of=one, scale=1e-3)
        yield Aim(name=f"{name}: numpy alone, bursts of 1,024", least=8, unit="Mpps", of=alone)
        yield _share(f"{name}: two workers, of one", 1.8, two, usual)


def _unbound() -> Iterator[Aim]:
    clean, few = _pipeline("encap, ring to ring"), _pipeline("encap, 1 % unbound, ring to ring")
    yield _share("1 % unbound, of the clean rate", 0.95, few, clean)
    for work in ("unbound", "unbound, one source"):
        yield Aim(name=f"100 % {work}", least=8, unit="Mpps", of=_pipeline(work))


def _wire() -> Iterator[Aim]:
    """Over veth; testpmd stands between the same ports in the same run."""
    for way, name in WAYS.items():
        ours, theirs, lossless = (
            Wanted("wire", f"{way} afxdp {what}", "Mpps")
            for what in ("dstm-router: forwarded", "testpmd io: forwarded", "dstm-router: no-loss")
        )
        yield _share(f"{name}, AF_XDP over veth, of testpmd", 2.5, ours, theirs)
        yield _share(f"{name}, AF_XDP over veth: overloaded, of no-loss", 0.95, ours, lossless)
        user = Wanted("wire", f"{way} afxdp dstm-router: user share", "%")
        yield Aim(
            name=f"{name}, AF_XDP over veth: our share of the CPU", most=20, unit="%", of=user
        )


def _latency() -> Iterator[Aim]:
    """At half of the throughput over veth (`--load 50`), from the stamps in the frames."""
    for way, name in WAYS.items():
        p99 = Wanted("rfc8219-latency", f"dstm-afxdp {way} p99", "us", {"frame": 64})
        yield Aim(name=f"{name}, AF_XDP over veth: p99 of the latency", most=200, unit="us", of=p99)


def _accounting() -> Iterator[Aim]:
    for flows in (1000, WIDE):
        for way, name in WAYS.items():
            fields = {"burst": 256, "bindings": MILLION, "flows": flows}
            cost = Wanted("accounting", f"{way}, ring to ring: cost", "% of the rate", fields)
            yield Aim(name=f"{name}, {flows:,} flows: accounting", most=15, unit="%", of=cost)


def _churn() -> Iterator[Aim]:
    """In memory; the worker has a CPU for itself and the changes another."""
    fast, paced = (f"by 10,000, {pace}" for pace in ("as fast as it goes", "500,000/s"))
    yield Aim(
        name="binding changes while forwarding, in memory",
        least=500_000,
        unit="1/s",
        of=Wanted("churn", f"{fast}: changes", "changes/s"),
    )
    lost, pause = (f"{paced}: {what}" for what in ("lost", "longest pause of its own"))
    yield Aim(
        name="forwarding loses at 500,000 changes/s",
        most=5,
        unit="%",
        of=Wanted("churn", lost, "%"),
    )
    yield Aim(
        name="longest pause at 500,000 changes/s, others' CPU time left out",
        most=1,
        unit="ms",
        of=Wanted("churn", pause, "us"),
        scale=1e-3,
    )


AIMS: Final[Sequence[Aim]] = (
    *_rates(),
    *_sizes_and_bursts(),
    *_unbound(),
    *_wire(),
    *_latency(),
    *_churn(),
    *_accounting(),
)


# The table ----------------------------------------------------------------------------------------


def last_of_each(files: Sequence[Results]) -> list[Row]:
    """All figures of all files; of equal ones the last."""
    by_key: dict[Key, Row] = {row.key: row for each in files for row in each.rows}
    return list(by_key.values())


def table(rows: Sequence[Row], *, markdown: bool) -> Table:
    """A line for each aim."""
    made = Table(title=None if markdown else "aims", box=box.MARKDOWN if markdown else box.ROUNDED)
    for column in ("aim", "wanted", "reached", "times", "met", "runs"):
        made.add_column(column, justify="left" if column in {"aim", "met"} else "right")
    for aim in AIMS:
        wanted = f"{'<=' if aim.sense is Better.SMALLER else '>='} {_number(aim.goal)} {aim.unit}"
        reached = aim.reached(rows)
        if reached is None:
            made.add_row(escape(aim.name), wanted, "-", "-", f"not measured: {aim.of}", "")
            continue
        made.add_row(
            escape(aim.name),
            wanted,
            f"{_number(reached.value)} {aim.unit}",
            "-" if reached.times is None else f"{reached.times:.2f}",
            "yes" if reached.met else "no",
            str(reached.runs),
        )
    return made


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse options, print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="perf aims", description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if an aim is missed")
    parser.add_argument("--markdown", action="store_true", help="as docs/benchmarks.md has it")
    args = parser.parse_args(argv)
    try:
        rows = last_of_each(read_all(args.files))
        made = table(rows, markdown=args.markdown)
    except ResultsError as error:
        parser.error(str(error))
    Console(width=None if Console().is_terminal else WIDTH).print(made)
    missed = [aim for aim in AIMS if not ((found := aim.reached(rows)) and found.met)]
    print(f"{len(AIMS) - len(missed)} of {len(AIMS)} aims reached", file=sys.stderr)
    return MISSED if args.strict and missed else 0
