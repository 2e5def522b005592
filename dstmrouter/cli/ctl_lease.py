"""dstmctl lease: grant, renew and release by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dstmrouter.cli.ctl_access import SERVER_DEFAULT, Access, AsJson, Server, print_json
from dstmrouter.cli.ctl_view import facts_table

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(no_args_is_help=True, help="Grant, renew or release one lease of the server.")

Client6 = Annotated[str, typer.Argument(help="IPv6 address of the client")]
Lease = Annotated[str, typer.Argument(help="its IPv4 address, or the lease's number")]
Lifetime = Annotated[
    int | None, typer.Option("--lifetime", min=1, help="seconds; the server's default if absent")
]


@app.command()
def grant(
    context: typer.Context,
    client6: Client6,
    *,
    server: Server = SERVER_DEFAULT,
    ipv4: Annotated[str | None, typer.Option(help="the address the client would like")] = None,
    identity: Annotated[str | None, typer.Option(help="who the client is, for quotas")] = None,
    lifetime: Lifetime = None,
    port_set: Annotated[
        bool, typer.Option("--port-set", help="a share of the ports will do")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Lend an address; returns when the routers forward for it."""
    wishes = {"ipv4": ipv4, "identity": identity, "lifetime_s": lifetime}
    answer = Access.in_use(context).call(
        server, "lease.grant", client6=client6, port_set=port_set or None, **wishes
    )
    _print_lease("granted", answer, as_json=as_json)


@app.command()
def renew(
    context: typer.Context,
    lease: Lease,
    client6: Client6,
    server: Server = SERVER_DEFAULT,
    lifetime: Lifetime = None,
    as_json: AsJson = False,
) -> None:
    """Extend a lease."""
    answer = Access.in_use(context).call(
        server, "lease.renew", client6=client6, lifetime_s=lifetime, **_named(lease)
    )
    _print_lease("renewed", answer, as_json=as_json)


@app.command()
def release(
    context: typer.Context,
    lease: Lease,
    client6: Annotated[
        str | None, typer.Argument(help="only if it is this client's; else whoever holds it")
    ] = None,
    server: Server = SERVER_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """End a lease now."""
    ask = Access.in_use(context).call
    answer = ask(server, "lease.release", client6=client6, **_named(lease))
    _print_lease("released", answer, as_json=as_json)


def _named(lease: str) -> Mapping[str, Any]:
    return {"lease_id": int(lease)} if lease.isdecimal() else {"ipv4": lease}


def _print_lease(done: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        Console().print(facts_table(done, answer))
