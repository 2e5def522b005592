"""What the legacy files mean, as the document of a `server.toml` or `client.toml`.

The programs load this document when they are started with legacy files, and `dstmctl convert`
writes it: so both mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dstmrouter.config.server import LeaseSection

if TYPE_CHECKING:
    from dstmrouter.config.legacy import LegacyClient, LegacyServer

Document: TypeAlias = dict[str, Any]

SERVER_NAME: Final = "rpcdstmd"
MECHANISMS: Final = ["ANONYMOUS"]


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
