"""dstm-router: the gateway between IPv6-only clients and the IPv4 Internet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dstmrouter.cli.logs import log_to_stderr
from dstmrouter.cli.program import run_program, version_option
from dstmrouter.cli.replay import replay
from dstmrouter.config.load import load_router
from dstmrouter.daemon.filtering import compile_filters
from dstmrouter.daemon.router import Supervisor

if TYPE_CHECKING:
    from dstmrouter.config.router import RouterConfig

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


@app.callback()
def options(
    _version: Annotated[bool, version_option("dstm-router")] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(config: Config = DEFAULT_CONFIG) -> None:
    """Forward until SIGTERM or Ctrl-C. A kill leaves no worker and no XDP program behind."""
    found = _load(config)
    log_to_stderr(found.router.log_level, found.router.log_format)
    asyncio.run(_run(found))


def _load(file: Path) -> RouterConfig:
    found = load_router(file)
    compile_filters(found.port, file)  # what is wrong with them is a mistake of the file
    return found


async def _run(config: RouterConfig) -> None:
    await Supervisor(config).run()


@app.command("check-config")
def check_config(config: Config = DEFAULT_CONFIG) -> None:
    """Check a configuration, and say what it forwards."""
    found = _load(config)
    ports = ", ".join(f"{port.interface} ({port.mode})" for port in found.port)
    pools = ", ".join(str(pool.prefix) for pool in found.pool)
    typer.echo(f"{config}: good; ports {ports}; pools {pools}")


@app.command("compile")
def compile_command() -> None:
    """Compile the fast path now, which else the first start after an update does."""
    from dstmrouter.daemon.precompile import precompile  # imports Numba

    typer.echo("compiling the fast path, half a minute at most ...")
    directory, took = precompile()
    kept = "not kept: no directory for it" if directory is None else f"kept in {directory}"
    typer.echo(f"ready after {took:.1f} s, {kept}")


app.command()(replay)


def main() -> NoReturn:
    """Run the command line."""
    run_program(app, "dstm-router")
