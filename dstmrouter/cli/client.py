"""dstm-client: an IPv6-only host's IPv4 through a tunnel (4over6)."""

from __future__ import annotations

import dataclasses
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, TypeVar

import typer

from dstmrouter.cli.client_view import show_status
from dstmrouter.cli.logs import log_to_stderr
from dstmrouter.cli.program import run_program, version_option
from dstmrouter.daemon import client
from dstmrouter.daemon.dti_link import BACKENDS, load_for
from dstmrouter.dti.state import RUN_DIR
from dstmrouter.dti.tunnel import MTU_DEFAULT, Tunnel, check_name
from dstmrouter.errors import ConfigError
from dstmrouter.protocols.granted import PortSet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstmrouter.dti.tunnel import Kind

T = TypeVar("T")
FOR_STATIC: Final = "--client4, --client6, --tep6 and --port-set are for --static"
OWN_OPTIONS: Final = frozenset({"--help", "--version"})
DEFAULT_CONFIG: Final = Path("/etc/dstm/client.toml")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How to start, wherever the lease comes from."""

    check_only: bool
    verbose: bool
    load: bool  # the kernel module of the tunnel


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


def _port_set_of(text: str) -> PortSet:
    offset, length, psid = (int(word) for word in text.split("/"))
    ports = PortSet(psid_offset=offset, psid_len=length, psid=psid)
    if ports.fault is not None:
        raise ValueError(ports.fault)
    return ports


_ipv4 = _address(IPv4Address, "IPv4 address")
_ipv6 = _address(IPv6Address, "IPv6 address")
_port_set = _address(_port_set_of, "port-set like 6/8/52: bits of offset, bits of PSID, PSID")
_route = _address(_prefix, "prefix like 192.0.2.0/24 without host bits, or `default`")

Client4 = Annotated[IPv4Address | None, typer.Option(parser=_ipv4, help="the leased IPv4 address")]
Client6 = Annotated[
    IPv6Address | None, typer.Option(parser=_ipv6, help="this host's IPv6 address: our tunnel end")
]
Tep6 = Annotated[
    IPv6Address | None, typer.Option(parser=_ipv6, help="the gateway's tunnel end point")
]
Tep4 = Annotated[
    IPv4Address | None, typer.Option(parser=_ipv4, help="the gateway's IPv4 address, as the peer")
]
Ports = Annotated[
    PortSet | None,
    typer.Option(
        "--port-set",
        parser=_port_set,
        metavar="OFFSET/LENGTH/PSID",
        help="the share of client4's ports that is ours (RFC 7597); the rest is translated to it",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help=f"client.toml; without any, {DEFAULT_CONFIG}"
    ),
]
LegacyArgs = Annotated[
    Path | None, typer.Option("--args", metavar="FILE", help="ENST's dstmd.args, instead of TOML")
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
Load = Annotated[
    bool, typer.Option("--load", "-load", help="load ip6_tunnel first, if this kernel has it")
]
RunDir = Annotated[Path, typer.Option(help="where running clients keep state and counters")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="log every step")]


@app.command("run", help="Have IPv4 until SIGTERM or Ctrl-C; then give everything back.")
@app.command("check-config", help="Check what `run` would be told, and say what it would do.")
def run(
    ctx: typer.Context,
    config: Config = None,
    args: LegacyArgs = None,
    static: Static = False,
    client4: Client4 = None,
    client6: Client6 = None,
    tep6: Tep6 = None,
    tep4: Tep4 = None,
    port_set: Ports = None,
    interface: Interface = None,
    dti_name: Name = "dti0",
    backend: Backend = "auto",
    mtu: Mtu = MTU_DEFAULT,
    route: Routes = None,
    encap_limit: EncapLimit = False,
    run_dir: RunDir = RUN_DIR,
    load: Load = False,
    verbose: Verbose = False,
) -> None:
    """Lease an address as a file says, or make the tunnel that options say (`--static`)."""
    start = Start(check_only=ctx.command.name == "check-config", verbose=verbose, load=load)
    if not static:
        _refuse(FOR_STATIC, client4, client6, tep6, port_set)
        return _run_leased(config, args, start)
    _refuse("--static takes its lease from options, not from a file", config, args)
    if client4 is None or client6 is None or tep6 is None:
        raise ConfigError("--static: expected --client4, --client6 and --tep6 as well")
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
        port_set=port_set,
    )
    return _run_static(tunnel, BACKENDS[backend], run_dir, start)


def _refuse(why: str, *given: object) -> None:
    """Refuse options of the other way to have a lease."""
    if any(option is not None for option in given):
        raise ConfigError(why)


def _run_leased(config: Path | None, args: Path | None, start: Start) -> None:
    from dstmrouter.cli.client_lease import lease_as_configured  # what static ones do without

    if config is not None and args is not None:
        raise ConfigError("expected --config or --args, not both")
    lease_as_configured(config or DEFAULT_CONFIG, args, start)


def _run_static(tunnel: Tunnel, kinds: Sequence[Kind], run_dir: Path, start: Start) -> None:
    log_to_stderr("debug" if start.verbose else "info", "console")
    if start.check_only:
        for step in client.rehearse(tunnel, kinds, run_dir):
            typer.echo(step)
        return
    if start.load:
        load_for(kinds)
    client.run(tunnel, kinds, run_dir)


@app.command()
def down(dti_name: Name = "dti0", run_dir: RunDir = RUN_DIR) -> None:
    """Stop the client of an interface, or remove what a killed one left behind."""
    check_name(dti_name)
    typer.echo(client.down(dti_name, run_dir))


@app.command()
def status(dti_name: Name = "dti0", run_dir: RunDir = RUN_DIR, as_json: AsJson = False) -> None:
    """Show the client of an interface and its counters."""
    check_name(dti_name)
    show_status(client.status(dti_name, run_dir), as_json=as_json)


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
