"""dstm-router: the gateway between IPv6-only clients and the IPv4 Internet."""

from __future__ import annotations

import asyncio
import json
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from dstmrouter import __version__
from dstmrouter.cli.logs import log_to_stderr
from dstmrouter.config.load import load_router
from dstmrouter.daemon import replay as replays
from dstmrouter.daemon.router import Supervisor
from dstmrouter.errors import ConfigError, DstmError
from dstmrouter.pipeline.rules import TunnelRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.config.router import RouterConfig

T = TypeVar("T")
EXIT_FAILED = 1
EXIT_CONFIG = 2

app = typer.Typer(
    name="dstm-router",
    no_args_is_help=True,
    add_completion=False,
    help="Carries the IPv4 packets of IPv6-only clients through IPv6 tunnels, on AF_XDP or "
    "packet_mmap rings. Its bindings come from dstm-server, or from whoever pushes them. "
    "Ask it with dstmctl: `dstmctl status`, `dstmctl counters`, `dstmctl bindings`.",
)

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="router.toml; conf/ has an example")
]
DEFAULT_CONFIG = Path("/etc/dstm/router.toml")
MAC4, MAC6 = "02:00:00:00:04:01", "02:00:00:00:06:01"
NEXT4, NEXT6 = "02:00:00:00:04:02", "02:00:00:00:06:02"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dstm-router {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(config: Config = DEFAULT_CONFIG) -> None:
    """Forward until SIGTERM or Ctrl-C. A kill leaves no worker and no XDP program behind."""
    found = load_router(config)
    log_to_stderr(found.router.log_level, found.router.log_format)
    asyncio.run(_run(found))


async def _run(config: RouterConfig) -> None:
    await Supervisor(config).run()


@app.command("check-config")
def check_config(config: Config = DEFAULT_CONFIG) -> None:
    """Check a configuration, and say what it forwards."""
    found = load_router(config)
    ports = ", ".join(f"{port.interface} ({port.mode})" for port in found.port)
    pools = ", ".join(str(pool.prefix) for pool in found.pool)
    typer.echo(f"{config}: good; ports {ports}; pools {pools}")


@app.command()
def replay(
    bindings: Annotated[Path, typer.Option(help="CSV with columns ipv4,client6[,tep6]")],
    tep6: Annotated[list[str], typer.Option(help="Our IPv6 address; may be repeated.")],
    pool: Annotated[list[str], typer.Option(help="IPv4 prefix of clients; may be repeated.")],
    in4: Annotated[Path | None, typer.Option(help="Frames from the IPv4 side, pcap(ng).")] = None,
    in6: Annotated[Path | None, typer.Option(help="Frames from the IPv6 side, pcap(ng).")] = None,
    out4: Annotated[Path | None, typer.Option(help="Where to write frames to IPv4.")] = None,
    out6: Annotated[Path | None, typer.Option(help="Where to write frames to IPv6.")] = None,
    tep4: Annotated[str | None, typer.Option(help="Our IPv4 address, answers pings.")] = None,
    mac4: Annotated[str, typer.Option(help="Our MAC address on the IPv4 side.")] = MAC4,
    mac6: Annotated[str, typer.Option(help="Our MAC address on the IPv6 side.")] = MAC6,
    next4: Annotated[str, typer.Option(help="MAC address of the IPv4 router.")] = NEXT4,
    next6: Annotated[str, typer.Option(help="MAC address of the IPv6 router.")] = NEXT6,
    hop_limit: Annotated[int, typer.Option(min=1, max=255, help="Of outer headers.")] = 64,
    flow_label: Annotated[
        int | None, typer.Option(min=0, max=0xFFFFF, help="Fixed; else hashed.")
    ] = None,
    hairpin: Annotated[bool, typer.Option(help="Client to client.")] = True,
    mtu: Annotated[int, typer.Option(min=1280, help="Path MTU towards clients, octets.")] = 1500,
    as_json: Annotated[bool, typer.Option("--json", help="Counters as one JSON object.")] = False,
) -> None:
    """Run captures through the pipeline and write what would leave; needs no privileges."""
    rules = TunnelRules(
        tep6=tuple(_parse(IPv6Address, text, "--tep6") for text in tep6),
        tep4=None if tep4 is None else _parse(IPv4Address, tep4, "--tep4"),
        hop_limit=hop_limit,
        flow_label=flow_label,
        hairpin=hairpin,
        path_mtu=mtu,
    )
    pools = [_parse(IPv4Network, text, "--pool") for text in pool]
    sides = [
        replays.Side(
            read=in4, write=out4, mac=_mac(mac4, "--mac4"), next_mac=_mac(next4, "--next4")
        ),
        replays.Side(
            read=in6, write=out6, mac=_mac(mac6, "--mac6"), next_mac=_mac(next6, "--next6")
        ),
    ]
    counts = replays.replay(rules, pools, replays.read_bindings(bindings, rules.tep6), sides)
    _show(
        {v.name: {"packets": p, "octets": o, "help": v.help} for v, (p, o) in counts.items()},
        as_json=as_json,
    )


def _show(counts: dict[str, dict[str, int | str]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(counts))
        return
    table = Table("verdict", "packets", "octets", "meaning")
    for name, count in counts.items():
        table.add_row(name, str(count["packets"]), str(count["octets"]), str(count["help"]))
    Console().print(table)


def _parse(kind: Callable[[str], T], text: str, option: str) -> T:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}") from None


def _mac(text: str, option: str) -> bytes:
    octets = _parse(bytes.fromhex, text.replace(":", ""), option)
    if len(octets) != 6:
        raise ConfigError(f"{option} {text}: expected six octets like {MAC4}")
    return octets


def main() -> None:
    """Run the command line; expected errors are one line each, without a traceback."""
    try:
        app()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)
    except DstmError as error:
        typer.echo(f"dstm-router: {error}", err=True)
        sys.exit(EXIT_FAILED)
