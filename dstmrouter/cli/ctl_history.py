"""dstmctl whohad, dstmctl history: who had which address, and when."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from dstmrouter.cli.ctl_access import SERVER_DEFAULT, Access, AsJson, Server, print_json
from dstmrouter.cli.ctl_view import HOLDING_FIELDS, rows_table

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, help="The history of all leases.")

PORT_MAX: Final = 65535
EXPORTED: Final = (*HOLDING_FIELDS, "psid_offset", "psid_len", "psid")


class Format(StrEnum):
    """How holdings are written: one per line."""

    CSV = "csv"
    JSONL = "jsonl"


def whohad(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS[:PORT]", help="IPv4 address, as in the complaint")
    ],
    server: Server = SERVER_DEFAULT,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="ISO 8601, like 2026-03-01T12:00:00+01:00; without a zone, local time. "
            "Default: now",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell who had an address, or the port set that a port is in, at some time."""
    ipv4, port = _address_and_port(address)
    when = None if at is None else _unix(at)
    answer = Access.in_use(context).call(server, "history.at", ipv4=ipv4, port=port, at=when)
    holders = [_readable(row) for row in answer["holders"]]
    if as_json:
        print_json({"ipv4": ipv4, "port": port, "at": _iso(answer["at"]), "holders": holders})
    elif holders:
        title = f"{address} at {_iso(answer['at'])}"
        Console().print(rows_table(title, holders, HOLDING_FIELDS))
    else:
        typer.echo(f"nobody had {address} at {_iso(answer['at'])}")


@app.command()
def export(
    context: typer.Context,
    server: Server = SERVER_DEFAULT,
    form: Annotated[Format, typer.Option("--format", help="csv or jsonl")] = Format.CSV,
) -> None:
    """Write all holdings to standard output: those that last, then those that have ended.

    A lease that ends meanwhile comes twice; its number and beginning are the same.
    """
    rows = _all_holdings(Access.in_use(context), server)
    if form is Format.CSV:
        writer = csv.DictWriter(sys.stdout, EXPORTED, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            typer.echo(json.dumps(row))


def _all_holdings(access: Access, server: str) -> Iterator[dict[str, Any]]:
    """Page by page, so that neither side ever holds all of them."""
    for method in ("history.lasting", "history.ended"):
        after: int | None = None
        while True:
            page = access.call(server, method, after=after)
            yield from map(_readable, page["holdings"])
            after = page["after"]
            if after is None:
                break


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    until = row["until"]
    return row | {"since": _iso(row["since"]), "until": None if until is None else _iso(until)}


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")


def _unix(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        expected = "expected ISO 8601, like 2026-03-01T12:00:00+01:00"
        raise typer.BadParameter(f"{text!r}: {expected}", param_hint="--at") from None


def _address_and_port(text: str) -> tuple[str, int | None]:
    address, colon, port = text.partition(":")
    try:
        ipv4 = str(IPv4Address(address))
    except AddressValueError:
        ipv4 = ""
    good_port = not colon or (port.isdecimal() and int(port[:6]) <= PORT_MAX)
    if not ipv4 or not good_port:
        expected = "expected an IPv4 address, like 192.0.2.7 or 192.0.2.7:4711"
        raise typer.BadParameter(f"{text!r}: {expected}", param_hint="ADDRESS")
    return ipv4, int(port) if colon else None
