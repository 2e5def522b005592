"""What the legacy files mean, as the document of a `server.toml` or `client.toml`.

The programs load this document when they are started with legacy files, and `dstmctl convert`
writes it: so both mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import tomli_w

from dstmrouter.config.legacy import read_client, read_server
from dstmrouter.config.load import check_client, check_server
from dstmrouter.config.server import LeaseSection

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.client import ClientConfig
    from dstmrouter.config.legacy import LegacyClient, LegacyServer
    from dstmrouter.config.server import ServerConfig

Document: TypeAlias = dict[str, Any]

SERVER_NAME: Final = "rpcdstmd"
MECHANISMS: Final = ["ANONYMOUS"]


def load_legacy_server(conf: Path, args: Path | None) -> ServerConfig:
    """Read `rpcdstmd.conf` and `rpcdstmd.args`; ConfigError lists everything that is wrong."""
    return check_server(conf, server_document(read_server(conf, args)))


def load_legacy_client(args: Path) -> ClientConfig:
    """Read `dstmd.args`; ConfigError lists everything that is wrong."""
    return check_client(args, client_document(read_client(args)))


def as_toml(document: Document, *sources: Path) -> str:
    """The text of the TOML file, with where it comes from."""
    names = ", ".join(str(source) for source in sources)
    return f"# Made from {names} by dstmctl convert.\n\n{tomli_w.dumps(document)}"


def server_document(legacy: LegacyServer) -> Document:
    """The tables of `server.toml`; what the old files do not say has its default."""
    document: Document = {"server": {"name": SERVER_NAME}}
    if legacy.lease_s is not None:
        document["lease"] = _lease(legacy.lease_s)
    document["pool"] = [
        {"first": str(span.first), "last": str(span.last)} for span in legacy.ranges
    ]
    document["tep"] = {"tep6": [str(legacy.tep6)], "tep4": str(legacy.tep4)}
    if legacy.tsp_port is not None:
        document["tsp"] = {"port": legacy.tsp_port, "mechanisms": MECHANISMS}
    return document


def client_document(legacy: LegacyClient) -> Document:
    """The tables of `client.toml`."""
    ports = {} if legacy.port is None else {"tsp_port": legacy.port}
    log_file = {} if legacy.log is None else {"log_file": str(legacy.log)}
    return {
        **({"client": log_file} if log_file else {}),
        "servers": {"hosts": [legacy.server], "protocols": ["tsp"], **ports},
        "tunnel": {"routes": ["default"]},
    }


def _lease(default_s: int) -> Document:
    """The lifetime, and limits that hold it where ours do not."""
    ours = LeaseSection()
    limits = {"min_s": min(ours.min_s, default_s), "max_s": max(ours.max_s, default_s)}
    return {"default_s": default_s} | {
        key: value for key, value in limits.items() if value != getattr(ours, key)
    }
