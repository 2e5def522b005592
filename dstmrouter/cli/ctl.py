"""dstmctl: what one wants to see or change of a running router or server."""

from __future__ import annotations

import tomllib
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from dstmrouter.cli import (
    ctl_convert,
    ctl_counters,
    ctl_history,
    ctl_lease,
    ctl_runtime,
    ctl_tsp_user,
    ctl_usage,
    ctl_watch,
)
from dstmrouter.cli.ctl_access import (
    ROUTER_DEFAULT,
    SERVER_DEFAULT,
    Access,
    AsJson,
    Key,
    Limit,
    Offset,
    PeerKey,
    Router,
    Server,
    Timeout,
    print_json,
)
from dstmrouter.cli.ctl_ports import counter_rows, queue_rows
from dstmrouter.cli.ctl_view import (
    BINDING_FIELDS,
    LEASE_FIELDS,
    PORT_FIELDS,
    facts_table,
    is_rows,
    rows_table,
)
from dstmrouter.cli.program import run_program, version_option
from dstmrouter.errors import ControlError
from dstmrouter.zmqctl import KeyPair, write_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="dstmctl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("counters")(ctl_counters.counters)
app.command("runtime")(ctl_runtime.runtime)
app.command("convert")(ctl_convert.convert)
app.command("trace")(ctl_watch.trace)
app.command("capture")(ctl_watch.capture)
app.command("explain")(ctl_watch.explain)
app.command("whohad")(ctl_history.whohad)
app.add_typer(ctl_lease.app, name="lease")
app.add_typer(ctl_history.app, name="history")
app.add_typer(ctl_tsp_user.app, name="tsp-user")
app.add_typer(ctl_usage.app, name="usage")


@app.callback()
def access(
    context: typer.Context,
    key: Key = None,
    peer_key: PeerKey = None,
    timeout: Timeout = 10.0,
    _version: Annotated[bool, version_option("dstmctl")] = False,
) -> None:
    """See and change a running dstm-router or dstm-server."""
    context.obj = Access.of(key, peer_key, timeout)


@app.command()
def status(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    server: Server = SERVER_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show router and server. With an endpoint given, only the one it is for."""
    endpoints = {"router": router, "server": server}
    defaults = {"router": ROUTER_DEFAULT, "server": SERVER_DEFAULT}
    given = {name: where for name, where in endpoints.items() if where != defaults[name]}
    answers = _answers(Access.in_use(context), given or endpoints)
    missing = [name for name in given if isinstance(answers[name], ControlError)]
    alive = {name: answer for name, answer in answers.items() if isinstance(answer, dict)}
    if missing or not alive:
        errors = [str(answer) for answer in answers.values() if isinstance(answer, ControlError)]
        raise ControlError("; ".join(errors))
    if as_json:
        print_json(alive)
        return
    for name, answer in alive.items():
        _print_facts(name, answer)


def _answers(access: Access, endpoints: dict[str, str]) -> dict[str, dict[str, Any] | ControlError]:
    answers: dict[str, dict[str, Any] | ControlError] = {}
    for name, endpoint in endpoints.items():
        try:
            answers[name] = access.call(endpoint, "status")
        except ControlError as error:
            answers[name] = error
    return answers


@app.command()
def leases(
    context: typer.Context,
    server: Server = SERVER_DEFAULT,
    state: Annotated[str | None, typer.Option(help="only leases in this state")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
    as_json: AsJson = False,
) -> None:
    """List the leases of the server."""
    ask = Access.in_use(context).call
    answer = ask(server, "leases", offset=offset, limit=limit, state=state)
    _print_page(answer, "leases", LEASE_FIELDS, as_json=as_json)


@app.command()
def bindings(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    ipv4: Annotated[str | None, typer.Option(help="only this address")] = None,
    usage: Annotated[bool, typer.Option("--usage", help="with packets and octets")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
    as_json: AsJson = False,
) -> None:
    """List the bindings by which the router forwards."""
    ask = Access.in_use(context).call
    counted = usage or None
    answer = ask(router, "bindings", offset=offset, limit=limit, ipv4=ipv4, usage=counted)
    _print_page(answer, "bindings", BINDING_FIELDS, as_json=as_json)


@app.command()
def ports(context: typer.Context, router: Router = ROUTER_DEFAULT, as_json: AsJson = False) -> None:
    """Show the router's ports: interface, ring mode, queues, kernel statistics."""
    answer = Access.in_use(context).call(router, "ports")
    if as_json:
        print_json(answer)
        return
    console, found = Console(), answer.get("ports", [])
    console.print(rows_table(f"ports: {len(found)}", queue_rows(found), PORT_FIELDS))
    if counted := counter_rows(found):
        console.print(rows_table("kernel counters", counted, ()))


@app.command()
def keygen(
    file: Annotated[Path, typer.Argument(help="secret key file to make; FILE.pub goes beside it")],
    as_json: AsJson = False,
) -> None:
    """Make a CURVE key pair for tcp:// endpoints. Existing files are never overwritten."""
    pair = KeyPair.generate()
    public_file = write_keys(pair, file)
    facts = {
        "public_key": pair.public,
        "secret_key_file": str(file),
        "public_key_file": str(public_file),
    }
    if as_json:
        print_json(facts)
    else:
        _print_facts("key", facts)


@app.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(help="a router.toml, server.toml or client.toml")],
    as_json: AsJson = False,
) -> None:
    """Check a configuration file; every problem is one line, exit code 2."""
    from dstmrouter.config import load  # with all that checks: only here
    from dstmrouter.daemon.filtering import compile_filters

    def load_router(path: Path) -> None:
        compile_filters(load.load_router(path).port, path)

    loaders = {"router": load_router, "server": load.load_server, "client": load.load_client}
    kind = _kind(file)
    loaders[kind](file)
    if as_json:
        print_json({"file": str(file), "kind": kind, "ok": True})
    else:
        typer.echo(f"{file}: a good configuration of dstm-{kind}")


def _kind(file: Path) -> str:
    """By its tables; what cannot be read at all is for the loader to tell."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "router"
    return "server" if "server" in tables else "client" if "servers" in tables else "router"


def _print_page(answer: dict[str, Any], rows: str, fields: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    shown = answer.get(rows, [])
    total = answer.get("total", len(shown))
    Console().print(rows_table(f"{rows}: {len(shown)} of {total}", shown, fields))


def _print_facts(title: str, facts: dict[str, Any]) -> None:
    console = Console()
    console.print(facts_table(title, facts))
    for name, value in facts.items():
        if is_rows(value):
            console.print(rows_table(f"{title}: {name}", value, ()))


def main() -> NoReturn:
    """Run the command line."""
    run_program(app, "dstmctl")
