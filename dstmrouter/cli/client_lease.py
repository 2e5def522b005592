"""dstm-client with a server: from a `client.toml`, or from ENST's `dstmd.args`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from dstmrouter.cli.logs import log_to_file, log_to_stderr
from dstmrouter.config.legacy_document import load_legacy_client
from dstmrouter.config.load import load_client
from dstmrouter.daemon import client_daemon
from dstmrouter.daemon.client_sources import Sources
from dstmrouter.daemon.dti_link import kinds_of, load_for

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.cli.client import Start
    from dstmrouter.config.client import ClientConfig, ClientSection


def lease_as_configured(file: Path, args: Path | None, start: Start) -> None:
    """Lease until told to stop; or only check the file, and those that it names.

    `args` is ENST's file, which stands for `file`.
    """
    config = load_client(file) if args is None else load_legacy_client(args)
    if start.check_only:
        _describe(args or file, config)
        return
    _log_as(config.client, verbose=start.verbose)
    if start.load:
        load_for(kinds_of(config.tunnel.backend, on_demand=config.client.mode == "demand"))
    asyncio.run(client_daemon.lease(config))


def _describe(file: Path, config: ClientConfig) -> None:
    Sources(config)
    servers = config.servers
    asked = [*([str(servers.hosts_file)] if servers.hosts_file else []), *servers.hosts]
    typer.echo(f"asks {', '.join(asked)} over {', '.join(config.protocols)}")
    if config.lease.psid_len:
        typer.echo(f"wants one of 2^{config.lease.psid_len} shares of an address")
    routes = ", ".join(str(route) for route in config.tunnel.routes) or "nothing"
    typer.echo(f"sends {routes} through {config.tunnel.name}")
    typer.echo(f"{file}: good")


def _log_as(section: ClientSection, *, verbose: bool) -> None:
    level = "debug" if verbose else section.log_level
    if section.log_file is None:
        log_to_stderr(level, section.log_format)
    else:
        log_to_file(section.log_file, level, section.log_format)
