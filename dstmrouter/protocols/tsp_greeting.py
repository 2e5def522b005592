"""How a TSP dialogue begins: VERSION and CAPABILITY (RFC 5572 section 4.4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSIONS: Final = ("2.0.2", "2.0.1", "2.0.0")
"""What both sides speak, in the order in which a client tries. 1.0.1 has no `accept`."""

TUNNEL: Final = "V4V6"
_VERSION: Final = re.compile(rb"VERSION=([0-9]{1,3}(?:\.[0-9]{1,3}){0,3})", re.IGNORECASE)
_STATUS: Final = re.compile(rb"([0-9]{3,4})(?: .*)?")


def version_line(version: str) -> bytes:
    """A client's first line."""
    return f"VERSION={version}\r\n".encode("ascii")


def decode_version(line: bytes) -> str:
    """The version in a client's first line; DecodeError if it is none."""
    found = _VERSION.fullmatch(line.strip(b"\0 \r\n"))
    if found is None:
        raise DecodeError("expected VERSION=")
    return found[1].decode("ascii")


def capability_line(mechanisms: Iterable[str]) -> bytes:
    """A server's answer: the tunnels and the ways to authenticate that it has."""
    offers = [f"TUNNEL={TUNNEL}", *(f"AUTH={name}" for name in mechanisms)]
    return f"CAPABILITY {' '.join(offers)}\r\n".encode("ascii")


def decode_capability(line: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Tunnels and mechanisms in a server's line, in upper case; what else it has is ignored."""
    word, *items = line.strip(b"\0 ").decode("ascii", "replace").upper().split() or [""]
    if word != "CAPABILITY":
        raise DecodeError("expected CAPABILITY")
    tunnels = (item.removeprefix("TUNNEL=") for item in items if item.startswith("TUNNEL="))
    mechanisms = (item.removeprefix("AUTH=") for item in items if item.startswith("AUTH="))
    return frozenset(tunnels), frozenset(mechanisms)


def decode_status(line: bytes) -> int | None:
    """The code of a status line; None when the line is something else."""
    found = _STATUS.fullmatch(line.strip(b"\0 \r\n"))
    return int(found[1]) if found is not None else None
