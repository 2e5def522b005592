"""dstm-client: an IPv6-only host's IPv4 through a tunnel (4over6)."""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from dstmrouter.cli.logs import log_to_stderr
from dstmrouter.cli.program import run_program, version_option
from dstmrouter.daemon import client
from dstmrouter.daemon.dti_link import BACKENDS
from dstmrouter.dti.state import RUN_DIR
from dstmrouter.dti.tunnel import MTU_DEFAULT, Tunnel, check_name
from dstmrouter.dti.verdict import Verdict
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
OWN_OPTIONS: Final = frozenset({"--help", "--version"})


app = typer.Typer(
    name="dstm-client",
    no_args_is_help=True,
    add_completion=False,
    help="IPv4 for an IPv6-only host: lends it an address and tunnels its packets over IPv6. "
    "Options without a command mean `run`.",
)


def _address(kind: Callable[[str], T], expected: str) -> Callable[[Any], T]:
    """Make an option parser; wrong text becomes a usage error (exit code 2)."""

    def parse(text: Any) -> T:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r}: expected {expected}") from None

    parse.__name__ = expected.split(" ", 1)[0].upper()
    return parse


def _prefix(text: str) -> IPv4Network:
    return IPv4Network("0.0.0.0/0" if text == "default" else text)


_ipv4 = _address(IPv4Address, "IPv4 address")
_ipv6 = _address(IPv6Address, "IPv6 address")
_route = _address(_prefix, "prefix like 192.0.2.0/24 without host bits, or `default`")

Client4 = Annotated[IPv4Address, typer.Option(parser=_ipv4, help="the leased IPv4 address")]
Client6 = Annotated[
    IPv6Address, typer.Option(parser=_ipv6, help="this host's IPv6 address: our tunnel end")
]
Tep6 = Annotated[IPv6Address, typer.Option(parser=_ipv6, help="the gateway's tunnel end point")]
Tep4 = Annotated[
    IPv4Address | None, typer.Option(parser=_ipv4, help="the gateway's IPv4 address, as the peer")
]
Static = Annotated[
    bool, typer.Option("--static", help="the lease is what the options say; no server is asked")
]
Interface = Annotated[
    str | None, typer.Option(help="send and receive the tunnel through this interface only")
]
Name = Annotated[str, typer.Option("--dti-name", help="name of the tunnel interface")]
Backend = Annotated[
    Literal["auto", "tun", "ip6tnl"],
    typer.Option(help="who carries packets: this process (tun), the kernel (ip6tnl), or the best"),
]
Mtu = Annotated[int, typer.Option(help="of the tunnel interface; 40 less than the path's")]
Routes = Annotated[
    list[IPv4Network] | None,
    typer.Option("--route", parser=_route, help="prefix to reach through the tunnel, or `default`"),
]
EncapLimit = Annotated[
    bool, typer.Option("--encap-limit", help="ip6tnl: send the encapsulation limit option")
]
RunDir = Annotated[Path, typer.Option(help="where running clients keep state and counters")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="log every step")]


@app.command("run", help="Carry packets until SIGTERM or Ctrl-C; then remove the interface.")
@app.command("check-config", help="Check the options of `run` on this host and print its steps.")
def run(
    ctx: typer.Context,
    *,
    client4: Client4,
    client6: Client6,
    tep6: Tep6,
    static: Static = False,
    tep4: Tep4 = None,
    interface: Interface = None,
    dti_name: Name = "dti0",
    backend: Backend = "auto",
    mtu: Mtu = MTU_DEFAULT,
    route: Routes = None,
    encap_limit: EncapLimit = False,
    run_dir: RunDir = RUN_DIR,
    verbose: Verbose = False,
) -> None:
    """Make the tunnel of the options, or only tell how it would be made."""
    tunnel = Tunnel(
        client4=client4,
        client6=client6,
        tep6=tep6,
        tep4=tep4,
        interface=interface,
        name=dti_name,
        mtu=mtu,
        encap_limit=encap_limit,
        routes=tuple(dict.fromkeys(route or ())),
    )
    if not static:
        raise ConfigError("no lease server is asked yet: give --static with the lease's addresses")
    log_to_stderr("debug" if verbose else "info", "console")
    if ctx.command.name == "check-config":
        for step in client.rehearse(tunnel, BACKENDS[backend], run_dir):
            typer.echo(step)
    else:
        client.run(tunnel, BACKENDS[backend], run_dir)


@app.command()
def down(dti_name: Name = "dti0", run_dir: RunDir = RUN_DIR) -> None:
    """Stop the client of an interface, or remove what a killed one left behind."""
    check_name(dti_name)
    typer.echo(client.down(dti_name, run_dir))


@app.command()
def status(dti_name: Name = "dti0", run_dir: RunDir = RUN_DIR, as_json: AsJson = False) -> None:
    """Show the client of an interface and its counters."""
    check_name(dti_name)
    facts = client.status(dti_name, run_dir)
    if as_json:
        typer.echo(json.dumps(facts, default=str))
        return
    running = "running" if facts["running"] else "not running (killed?)"
    ends = facts["ends"]
    typer.echo(f"{dti_name}: {facts['kind']}, {running}, process {facts['pid']}")
    typer.echo(f"{facts['client4']} through {ends['client6']} to {ends['tep6']}")
    Console().print(_counter_table(facts["counters"]))


@app.callback(invoke_without_command=True)
def version(
    _version: Annotated[bool, version_option("dstm-client")] = False,
) -> None:
    """Print the version if asked to."""


def main() -> NoReturn:
    """Run the command line."""
    run_program(app, "dstm-client", with_command(sys.argv[1:]))


def with_command(arguments: Sequence[str]) -> list[str]:
    """Put `run` in front of options that are not the program's own: `dstm-client --static ...`."""
    bare = arguments and arguments[0].startswith("-") and arguments[0] not in OWN_OPTIONS
    return ["run", *arguments] if bare else list(arguments)


def _counter_table(counters: dict[str, dict[str, int]]) -> Table:
    helps = {verdict.name.lower(): verdict.help for verdict in Verdict}
    table = Table("counter", "packets", "octets", "meaning")
    for name, counted in counters.items():
        table.add_row(name, str(counted["packets"]), str(counted["octets"]), helps.get(name, ""))
    return table
