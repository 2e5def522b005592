"""dstm-server: lends IPv4 addresses to IPv6-only hosts and tells the routers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from dstmrouter.cli.logs import log_to_stderr
from dstmrouter.cli.program import run_program, version_option
from dstmrouter.config.legacy_document import load_legacy_server
from dstmrouter.config.load import load_server
from dstmrouter.daemon import server
from dstmrouter.daemon.server_rules import address_space, lease_book
from dstmrouter.daemon.server_store import check_store
from dstmrouter.daemon.tsp_server import check_files
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from dstmrouter.config.server import ServerConfig

app = typer.Typer(
    name="dstm-server",
    no_args_is_help=True,
    add_completion=False,
    help="Lends IPv4 addresses of its pools to IPv6-only hosts and tells every dstm-router. "
    "Ask it with dstmctl: `dstmctl status`, `dstmctl leases`, `dstmctl lease grant`.",
)

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="server.toml; conf/ has an example")
]
LegacyConf = Annotated[
    Path | None,
    typer.Option("--rpcdstmd-conf", metavar="FILE", help="ENST's rpcdstmd.conf, instead of TOML"),
]
LegacyArgs = Annotated[
    Path | None, typer.Option("--args", metavar="FILE", help="and its rpcdstmd.args")
]
DEFAULT_CONFIG: Final = Path("/etc/dstm/server.toml")


@app.callback()
def options(
    _version: Annotated[bool, version_option("dstm-server")] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(
    config: Config = DEFAULT_CONFIG, rpcdstmd_conf: LegacyConf = None, args: LegacyArgs = None
) -> None:
    """Serve until SIGTERM or Ctrl-C. A kill loses no lease: they are on disk."""
    _, found = _load(config, rpcdstmd_conf, args)
    log_to_stderr(found.server.log_level, found.server.log_format)
    asyncio.run(server.serve(found))


@app.command("check-config")
def check_config(
    config: Config = DEFAULT_CONFIG, rpcdstmd_conf: LegacyConf = None, args: LegacyArgs = None
) -> None:
    """Check a configuration, the files that it names included, and say what it lends."""
    file, found = _load(config, rpcdstmd_conf, args)
    server.curve_server(found.curve)
    if found.tsp is not None:
        check_files(found.tsp)
    space = address_space(found)
    for pool in space.pools:
        shared = f", {len(pool)} port sets" if pool.sharing.psid_len else ""
        typer.echo(f"pool {pool.name}: {pool.addresses} addresses{shared}")
    addresses = sum(pool.addresses for pool in space.pools)
    typer.echo(f"{file}: good, {addresses} addresses in {len(space.pools)} pools")


def _load(config: Path, conf: Path | None, args: Path | None) -> tuple[Path, ServerConfig]:
    """The configuration, and the file to name in errors."""
    if conf is None and args is not None:
        raise ConfigError("--args: expected --rpcdstmd-conf as well")
    path = config if conf is None else conf
    found = load_server(config) if conf is None else load_legacy_server(conf, args)
    try:
        lease_book(found)
        check_store(found.store)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return path, found


def main() -> NoReturn:
    """Run the command line."""
    run_program(app, "dstm-server")
