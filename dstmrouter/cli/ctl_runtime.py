"""dstmctl runtime: where the time of every worker goes, step by step, in all or as it goes on.

A router tells what its workers have measured (`dstmrouter.runtime`); what is estimated of that is
made here, also of the difference between two looks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from dstmrouter.cli.ctl_access import ROUTER_DEFAULT, Access, AsJson, Router, print_json
from dstmrouter.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN: Final = "(not measured)"
_SUMS: Final = ("all_ns", "turns", "measured_turns", "timeouts")
_COLUMNS: Final = ("calls", "packets", "ns")
_HEADINGS: Final = ("step", "calls", "packets", "packets/call", "ns/call", "ns/packet", "share")


def runtime(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    watch: Annotated[
        bool, typer.Option("--watch", help="show what has been since the last look, until Ctrl-C")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="--watch: seconds between looks")] = 1.0,
    show_all: Annotated[bool, typer.Option("--all", help="also steps that were not taken")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where the time of workers goes: calls, packets and time of every step.

    ns are nanoseconds; share is of a worker's time, EMPTY and WAIT being idle. Workers measure one
    turn in 64, so figures of a short time are rough. docs/operations.md explains the steps.
    """
    access = Access.in_use(context)
    if not watch:
        _show(Console(), _in_all(_look(access, router)), show_all=show_all, as_json=as_json)
    elif as_json:
        for found in _looks(access, router, every):
            print_json({"workers": found})
    else:
        with Live(console=Console(), auto_refresh=False) as live:
            for found in _looks(access, router, every):
                live.update(_tables(found, show_all=show_all), refresh=True)


def _show(
    console: Console, workers: list[dict[str, Any]], *, show_all: bool, as_json: bool
) -> None:
    if as_json:
        print_json({"workers": workers})
    else:
        console.print(_tables(workers, show_all=show_all))


def _look(access: Access, router: str) -> list[dict[str, Any]]:
    workers = access.call(router, "runtime").get("workers")
    if not isinstance(workers, list):
        raise ControlError(f"{router}: the answer has no list of workers")
    return workers


def _in_all(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [estimate(worker) for worker in workers]


def _looks(access: Access, router: str, every: float) -> Iterator[list[dict[str, Any]]]:
    """What has been between two looks, one each `every` seconds, without end."""
    before = _look(access, router)
    while True:
        time.sleep(every)
        now = _look(access, router)
        yield _in_all([since(*both) for both in zip(now, before, strict=True)])
        before = now


def since(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one worker less those of an earlier look."""
    sums = {name: now[name] - before[name] for name in _SUMS}
    former = {step["name"]: step for step in before["steps"]}
    steps = [
        step | {name: step[name] - former[step["name"]][name] for name in _COLUMNS}
        for step in now["steps"]
    ]
    return now | sums | {"steps": steps}


def estimate(worker: dict[str, Any]) -> dict[str, Any]:
    """The same worker with what follows from its numbers.

    Exact steps are as they are. Measured turns stand for all turns: their calls and packets are
    multiplied, and their steps divide what the exact ones leave of the worker's time.
    """
    all_ns, steps = worker["all_ns"], worker["steps"]
    exact_ns = sum(step["ns"] for step in steps if step["exact"])
    measured_ns = sum(step["ns"] for step in steps if not step["exact"])
    rest_ns = max(all_ns - exact_ns, 0)
    turns = _quotient(worker["turns"], worker["measured_turns"])
    times = _quotient(rest_ns, measured_ns)
    rows = [_row(step, 1, 1, all_ns) if step["exact"] else _row(step, turns, times, all_ns)
            for step in steps]  # fmt: skip
    if not measured_ns and rest_ns:
        nothing = {"name": UNKNOWN, "help": "turns of which none was measured", "calls": 0}
        nothing |= {"exact": False, "idle": False, "packets": 0, "ns": rest_ns}
        rows.append(_row(nothing, 1, 1, all_ns))
    return worker | {
        "idle_share": round(sum(row["share"] for row in rows if row["idle"]), 5),
        "steps": rows,
    }


def _row(step: dict[str, Any], turns: float, times: float, all_ns: int) -> dict[str, Any]:
    calls, packets, ns = step["calls"] * turns, step["packets"] * turns, step["ns"] * times
    return step | {
        "calls": round(calls),
        "packets": round(packets),
        "ns": round(ns),
        "packets_per_call": round(_quotient(packets, calls), 3),
        "ns_per_call": round(_quotient(ns, calls)),
        "ns_per_packet": round(_quotient(ns, packets), 2),
        "share": round(_quotient(ns, all_ns), 5),
    }


def _quotient(a: float, b: float) -> float:
    return a / b if b else 0.0


def _tables(workers: list[dict[str, Any]], *, show_all: bool) -> Group:
    shown = ((_title(worker), _table(worker, show_all=show_all)) for worker in workers)
    return Group(*(part for both in shown for part in both))


def _title(worker: dict[str, Any]) -> str:
    return (
        f"worker {worker['worker']}: {worker['all_ns'] / 1e9:,.1f} s, "
        f"{worker['idle_share']:.1%} idle; "
        f"{worker['turns']:,} turns, {worker['measured_turns']:,} of them measured; "
        f"slept {worker['timeouts']:,} times in vain"
    )


def _table(worker: dict[str, Any], *, show_all: bool) -> Table:
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for row in worker["steps"]:
        if show_all or row["ns"]:
            table.add_row(row["name"], *_cells(row))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    packets = row["packets"]
    return [
        f"{row['calls']:,}",
        f"{packets:,}" if packets else "-",
        f"{row['packets_per_call']:,.1f}" if packets else "-",
        f"{row['ns_per_call']:,}",
        f"{row['ns_per_packet']:,.1f}" if packets else "-",
        f"{row['share']:.2%}",
    ]
