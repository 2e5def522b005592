"""dstm-router: the gateway between IPv6-only clients and the IPv4 Internet."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dstmrouter import __version__
from dstmrouter.cli.logs import log_to_stderr
from dstmrouter.cli.replay import replay
from dstmrouter.config.load import load_router
from dstmrouter.daemon.router import Supervisor
from dstmrouter.errors import ConfigError, DstmError

if TYPE_CHECKING:
    from dstmrouter.config.router import RouterConfig

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


app.command()(replay)


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
