"""Whom a TSP client asks, and who it is."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    import ssl

PORTS: Final = {"tsp": 3653, "tsp-udp": 3653, "tsps": 3655}
"""Schemes and their ports; TLS has none assigned."""

_SERVER: Final = re.compile(
    r"(?:([a-z-]+)://)?(?:\[([0-9a-fA-F:.]+)\]|([^:/\[\]]+))(?::(\d{1,5}))?/?"
)


@dataclasses.dataclass(frozen=True, slots=True)
class TspAddress:
    """Where a server is, and how to talk to it."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> TspAddress:
        """Read `tsps://tsp.example.net` or `tsp-udp://[2001:db8::1]:3545`; else ConfigError."""
        found = _SERVER.fullmatch(text)
        scheme = (found[1] or "tsp") if found is not None else ""
        port = int(found[4]) if found is not None and found[4] else PORTS.get(scheme, 0)
        if found is None or scheme not in PORTS or not 0 < port < 1 << 16:
            expected = "tsp://HOST, tsp-udp://HOST or tsps://HOST, with :PORT if not the usual one"
            raise ConfigError(f"server {text!r:.60}: expected {expected}")
        return cls(scheme, found[2] or found[3], port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def elsewhere(self, host: str) -> TspAddress:
        """The same service at another server."""
        return dataclasses.replace(self, host=host)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TspAccount:
    """Who we are: nobody, a user with a password, or whoever the certificate in `tls` names.

    `plain` sends the password in the clear if the first server has nothing better.
    `lifetime_unit_s` is that of the server's attribute `lifetime`: minutes in RFC 5572, seconds in
    some deployed servers.
    """

    user: str | None = None
    password: str = dataclasses.field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    certificate: bool = False
    plain: bool = False
    lifetime_unit_s: int = 60
