"""dstmctl usage: counting what each binding has had carried, and what those had that have ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from dstmrouter.binding import USAGE_FIELDS, address4, address6
from dstmrouter.cli.ctl_access import ROUTER_DEFAULT, Access, AsJson, Limit, Router, print_json
from dstmrouter.cli.ctl_view import facts_table, rows_table
from dstmrouter.errors import ConfigError
from dstmrouter.zmqctl import UsageSubscriber
from dstmrouter.zmqctl.usage_columns import unpack_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.zmqctl import UsageColumns, UsageReport

app = typer.Typer(
    no_args_is_help=True,
    help="Packets and octets of each binding; those of what is bound: dstmctl bindings --usage.",
)
_FIELDS: Final = ("ipv4", "psid", "client6", "source", "at", "until", *USAGE_FIELDS)
ENDED_FIELDS: Final = ("number", "ipv4", "psid", "client6", "source", "until", *USAGE_FIELDS)


@app.command()
def show(context: typer.Context, router: Router = ROUTER_DEFAULT, as_json: AsJson = False) -> None:
    """Tell whether usage is counted, since when, and how many bindings have ended with some."""
    _show(Access.in_use(context).call(router, "usage"), as_json=as_json)


@app.command("on")
def turn_on(
    context: typer.Context, router: Router = ROUTER_DEFAULT, as_json: AsJson = False
) -> None:
    """Count from now on; what was counted before stays."""
    _show(Access.in_use(context).call(router, "usage.set", on=True), as_json=as_json)


@app.command("off")
def turn_off(
    context: typer.Context, router: Router = ROUTER_DEFAULT, as_json: AsJson = False
) -> None:
    """Count no longer; what was counted stays."""
    _show(Access.in_use(context).call(router, "usage.set", on=False), as_json=as_json)


@app.command()
def ended(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    after: Annotated[int, typer.Option(min=0, help="number of the last one seen")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List what bindings had used in all when they ended, oldest first."""
    answer = Access.in_use(context).call(router, "usage.ended", after=after, limit=limit)
    columns = unpack_usage(answer["bindings"])
    first = answer["after"] - len(columns) + 1
    rows = [{"number": first + n} | row for n, row in enumerate(_rows(columns))]
    if as_json:
        print_json(answer | {"bindings": rows})
        return
    title = f"ended: {len(rows)}{' and more' if answer['more'] else ''}"
    title += f", {answer['lost']:,} before them are lost" if answer["lost"] else ""
    Console().print(rows_table(title, rows, ENDED_FIELDS))


@app.command()
def watch(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    feed: Annotated[
        str | None,
        typer.Option(metavar="ENDPOINT", help="its feed of usage; default: what it says itself"),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="lines to show; default: no end")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what bindings have used as it becomes more, and what those had that end from now on."""
    access = Access.in_use(context)
    now = access.call(router, "usage")
    feed = feed or now["feed"]
    if feed is None:
        raise ConfigError(f"{router}: no feed of usage, see [usage_feed] of router.toml")
    with UsageSubscriber(
        feed,
        router,
        curve=access.curve(),
        epoch=now["epoch"],
        ended=now["ended"],
        timeout_s=access.timeout_s,
    ) as subscriber:
        for report in subscriber:
            rows = list(_lines(report))[:count]
            _tell(report, rows, as_json=as_json)
            if count is not None:
                count -= len(rows)
                if not count:
                    break


def _lines(report: UsageReport) -> Iterator[dict[str, Any]]:
    """What is to be shown of a report, line by line."""
    columns = report.columns
    at = {} if report.at is None else {"at": _iso(report.at)}
    for account, row in zip(columns.account.tolist(), _rows(columns), strict=True):
        yield {"account": account} | at | row


def _tell(report: UsageReport, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if report.lost:
        typer.echo(f"{report.lost:,} more have ended that nobody can tell any more", err=True)
    if as_json:
        for row in rows:
            print_json({"epoch": report.epoch} | row)
    elif rows:
        title = f"ended: {len(rows)}" if report.at is None else f"used: {len(rows)}"
        Console().print(rows_table(title, rows, _FIELDS))


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    since = answer["since"]
    told = answer | {"since": None if since is None else _iso(since)}
    Console().print(facts_table("usage", told))


def _rows(columns: UsageColumns) -> Iterator[dict[str, Any]]:
    ended = [None] * len(columns) if columns.until is None else columns.until.tolist()
    for row, (until, counts) in enumerate(zip(ended, columns.usage.tolist(), strict=True)):
        port_set = {
            name: int(getattr(columns, name)[row]) for name in ("psid_offset", "psid_len", "psid")
        }
        yield {
            "ipv4": str(address4(columns.ipv4[row])),
            **(port_set if port_set["psid_len"] else {}),
            "client6": str(address6(columns.client6[row])),
            "source": columns.sources[columns.source[row]],
            **({} if until is None else {"until": _iso(until)}),
            **dict(zip(USAGE_FIELDS, counts, strict=True)),
        }


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")
