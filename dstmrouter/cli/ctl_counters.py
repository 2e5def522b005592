"""dstmctl counters: what became of every packet, once or as rates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from dstmrouter.cli.ctl_access import ROUTER_DEFAULT, Access, AsJson, Router, print_json
from dstmrouter.cli.ctl_view import COUNTER_FIELDS, rows_table, with_rates
from dstmrouter.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table


def counters(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    watch: Annotated[bool, typer.Option("--watch", help="show rates until Ctrl-C")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="--watch: seconds between looks")] = 1.0,
    show_all: Annotated[bool, typer.Option("--all", help="also those that are zero")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what became of every packet: one counter per outcome, in packets and octets."""
    access = Access.in_use(context)
    if not watch:
        answer = _look(access, router)
        if as_json:
            print_json(answer)
        else:
            Console().print(_table(answer, show_all=show_all))
    elif as_json:
        for answer in _looks(access, router, every):
            print_json(answer)
    else:
        with Live(console=Console(), auto_refresh=False) as live:
            for answer in _looks(access, router, every):
                live.update(_table(answer, show_all=show_all), refresh=True)


def _looks(access: Access, router: str, every: float) -> Iterator[dict[str, Any]]:
    """Answers with rates, one each `every` seconds, without end."""
    before, looked_at = _look(access, router), time.monotonic()
    while True:
        time.sleep(every)
        answer, now = _look(access, router), time.monotonic()
        yield answer | {
            "verdicts": with_rates(answer["verdicts"], before["verdicts"], now - looked_at)
        }
        before, looked_at = answer, now


def _look(access: Access, router: str) -> dict[str, Any]:
    answer = access.call(router, "counters")
    if not isinstance(answer.get("verdicts"), list):
        raise ControlError(f"{router}: the answer has no list of verdicts")
    return answer


def _table(answer: dict[str, Any], *, show_all: bool) -> Table:
    rows = [row for row in answer["verdicts"] if show_all or row.get("packets")]
    return rows_table("counters", rows, COUNTER_FIELDS)
