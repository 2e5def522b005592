"""How `dstm-client status` looks."""

from __future__ import annotations

import json
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from dstmrouter.dti.verdict import Verdict

TIMERS: Final = {
    "t1_in_s": "asks its server again in",
    "t2_in_s": "asks any server in",
    "expires_in_s": "lease ends in",
    "retry_in_s": "next try in",
}


def show_status(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print what `daemon.client.status` found."""
    if as_json:
        typer.echo(json.dumps(facts, default=str))
        return
    kind = facts.get("kind", "no tunnel")
    running = "running" if facts["running"] else "not running (killed?)"
    typer.echo(f"{facts['name']}: {kind}, {running}, process {facts['pid']}")
    if "leasing" in facts:
        _show_leasing(facts["leasing"])
    else:
        ends = facts["ends"]
        typer.echo(f"{_share(facts)} through {ends['client6']} to {ends['tep6']}")
    if facts["counters"]:
        Console().print(_counter_table(facts["counters"]))


def _share(lease: dict[str, Any]) -> str:
    """The address, and the port set of it that is ours."""
    ports = lease.get("port_set")
    return f"{lease['client4']} (port set {ports})" if ports else f"{lease['client4']}"


def _show_leasing(leasing: dict[str, Any]) -> None:
    typer.echo(f"{leasing['state']}: {leasing['meaning']}")
    lease = leasing["lease"]
    if lease is not None:
        typer.echo(f"{_share(lease)} through {lease['client6']} to {lease['tep6']}")
        typer.echo(f"lent by {leasing['server']} over {leasing['protocol']}")
    for key, words in TIMERS.items():
        if leasing[key] is not None and leasing[key] >= 0:
            typer.echo(f"{words} {leasing[key]:.0f} s")
    if leasing["error"]:
        typer.echo(f"last refusal: {leasing['error']}")


def _counter_table(counters: dict[str, dict[str, int]]) -> Table:
    helps = {verdict.name.lower(): verdict.help for verdict in Verdict}
    table = Table("counter", "packets", "octets", "meaning")
    for name, counted in counters.items():
        table.add_row(name, str(counted["packets"]), str(counted["octets"]), helps.get(name, ""))
    return table
