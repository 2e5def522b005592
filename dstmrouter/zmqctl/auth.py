"""Who may connect to a CURVE socket: ZeroMQ's authentication protocol (RFC 27) with an allow-list.

libzmq asks whoever bound `inproc://zeromq.zap.01` in the socket's context, once per connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import zmq.asyncio
import zmq.auth.asyncio
from zmq.utils import z85

from dstmrouter.zmqctl.endpoint import ZAP_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = structlog.get_logger(__name__)


class _Authenticator(zmq.auth.asyncio.AsyncioAuthenticator):
    """Gives each connection the name of its key as "User-Id"."""

    def __init__(self, context: zmq.asyncio.Context, names: Mapping[str, str]) -> None:
        super().__init__(context)
        self._names = names

    def curve_user_id(self, client_public_key: bytes) -> str:
        return self._names[z85.encode(client_public_key).decode("ascii")]


class KeyGate:
    """Lets the keys of one allow-list into the sockets of one context, by name.

    Make it inside the running event loop and before the first socket is bound.
    """

    def __init__(self, context: zmq.asyncio.Context, allowed: Mapping[str, str]) -> None:
        self._allowed = allowed
        self.denied = 0  # connections refused since the start
        self._authenticator = _Authenticator(context, allowed)
        self._authenticator.configure_curve_callback(ZAP_DOMAIN.decode("ascii"), self)
        self._authenticator.start()

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether the client with this public key (Z85) may enter; called by pyzmq."""
        name = self._allowed.get(key.decode("ascii"))
        if name is None:
            self.denied += 1
            _log.warning("key refused", key=key.decode("ascii"), domain=domain, refused=self.denied)
        return name is not None

    def close(self) -> None:
        """Answer no more requests; libzmq then lets nobody in."""
        self._authenticator.stop()
