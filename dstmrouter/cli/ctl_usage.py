"""dstmctl usage: counting what each binding has had carried, and what those had that have ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from dstmrouter.binding import USAGE_FIELDS, address4, address6
from dstmrouter.cli.ctl_access import ROUTER_DEFAULT, Access, AsJson, Limit, Router, print_json
from dstmrouter.cli.ctl_view import facts_table, rows_table
from dstmrouter.zmqctl.usage_columns import unpack_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.zmqctl.usage_columns import UsageColumns

app = typer.Typer(
    no_args_is_help=True,
    help="Packets and octets of each binding; those of what is bound: dstmctl bindings --usage.",
)
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


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    since = answer["since"]
    told = answer | {"since": None if since is None else _iso(since)}
    Console().print(facts_table("usage", told))


def _rows(columns: UsageColumns) -> Iterator[dict[str, Any]]:
    assert columns.until is not None
    for row, (until, counts) in enumerate(
        zip(columns.until.tolist(), columns.usage.tolist(), strict=True)
    ):
        port_set = {
            name: int(getattr(columns, name)[row]) for name in ("psid_offset", "psid_len", "psid")
        }
        yield {
            "ipv4": str(address4(columns.ipv4[row])),
            **(port_set if port_set["psid_len"] else {}),
            "client6": str(address6(columns.client6[row])),
            "source": columns.sources[columns.source[row]],
            "until": _iso(until),
            **dict(zip(USAGE_FIELDS, counts, strict=True)),
        }


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")
