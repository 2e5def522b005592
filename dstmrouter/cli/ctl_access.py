"""Where dstmctl finds router and server, and with which keys: the options commands share."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dstmrouter.errors import ConfigError, ControlError
from dstmrouter.zmqctl import ControlClient, CurveClient, load_keys
from dstmrouter.zmqctl.endpoint import is_served, socket_file

if TYPE_CHECKING:
    from dstmrouter.zmqctl import KeyPair

ROUTER_DEFAULT: Final = "ipc:///run/dstm-router/control"
SERVER_DEFAULT: Final = "ipc:///run/dstm-server/control"

Router = Annotated[
    str,
    typer.Option(metavar="ENDPOINT", envvar="DSTM_ROUTER", help="control endpoint of dstm-router"),
]
Server = Annotated[
    str,
    typer.Option(metavar="ENDPOINT", envvar="DSTM_SERVER", help="control endpoint of dstm-server"),
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")]
Key = Annotated[
    Path | None,
    typer.Option(envvar="DSTM_KEY", help="our secret key file (dstmctl keygen), for tcp://"),
]
PeerKey = Annotated[
    str | None,
    typer.Option(envvar="DSTM_PEER_KEY", help="public key of the daemon asked, for tcp://"),
]
Timeout = Annotated[float, typer.Option(min=0.1, help="seconds to wait for an answer")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="rows to show")]
Offset = Annotated[int, typer.Option(min=0, help="rows to skip")]


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """How to ask: keys of the command line, and how long to wait."""

    keys: KeyPair | None
    peer_key: str | None
    timeout_s: float

    @classmethod
    def in_use(cls, context: typer.Context) -> Access:
        """Return what the options in front of the command said."""
        access = context.obj
        assert isinstance(access, cls)
        return access

    @classmethod
    def of(cls, key: Path | None, peer_key: str | None, timeout_s: float) -> Access:
        """Return the access of these options; ConfigError for half of a pair or a bad key file."""
        if (key is None) != (peer_key is None):
            raise ConfigError("--key and --peer-key belong together")
        return cls(load_keys(key) if key is not None else None, peer_key, timeout_s)

    def call(self, endpoint: str, method: str, **params: Any) -> dict[str, Any]:
        """Ask the daemon at `endpoint`; ControlError when it refuses or is not there."""
        path = socket_file(endpoint)
        if path is not None and not is_served(path):  # no need to wait for nobody
            raise ControlError(f"{endpoint}: nobody listens there; is the daemon running?")
        given = {name: value for name, value in params.items() if value is not None}
        curve = None if endpoint.startswith("ipc:") else self.curve()
        with ControlClient(endpoint, curve=curve) as client:
            return client.call(method, self.timeout_s, **given)

    def curve(self) -> CurveClient | None:
        """Our keys and that of the daemon, if we have them."""
        if self.keys is None or self.peer_key is None:
            return None
        return CurveClient(self.keys, self.peer_key)


def print_json(value: dict[str, Any]) -> None:
    """Write one JSON object on one line; octets as hexadecimal digits."""
    typer.echo(json.dumps(value, default=_plain))


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
