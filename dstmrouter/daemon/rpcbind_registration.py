"""A server's entries in rpcbind: made at the start, made again when they are lost, taken away last.

Entries outlive who made them, so a start first takes away what a killed predecessor has left
(RFC 1833 section 2.2.1: SET refuses what exists, UNSET comes first). rpcbind tells nobody that it
was started anew and knows nothing, so we set the entries again from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.daemon.rpc_client import reason_of
from dstmrouter.daemon.rpcbind_client import LOCAL_SOCKET, local_rpcbind
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dstmrouter.protocols.rpcbind import Binding

log = structlog.get_logger(__name__)

AGAIN_S: Final = 30.0
REGISTERED: Final = "registered"
ANSWER_S: Final = 3.0  # a server on the same host answers at once or never


class RpcbindError(DstmError):
    """rpcbind is required, and not there or not willing."""


class Registration:
    """Keeps `bindings` in the rpcbind of this host; `state` says how that goes, to people."""

    def __init__(
        self, bindings: Sequence[Binding], *, required: bool, path: Path = LOCAL_SOCKET
    ) -> None:
        self._bindings = bindings
        self._required = required
        self._path = path
        self.state = "not asked yet"

    async def run(self) -> None:
        """Register until cancelled, then unregister.

        Raises RpcbindError if that fails the first time and is `required`; later failures are a
        warning, for leases do not depend on it.
        """
        try:
            if not await self._register(afresh=True) and self._required:
                raise RpcbindError(f"rpcbind is required, but {self.state}")
            while True:
                await asyncio.sleep(AGAIN_S)
                await self._register(afresh=self.state != REGISTERED)
        finally:
            if self.state == REGISTERED:  # else the entries are not ours
                with contextlib.suppress(DstmError, OSError):
                    await self._unregister()

    async def _register(self, *, afresh: bool) -> bool:
        """Set all entries; `afresh` takes away those with other addresses first."""
        former = self.state
        try:
            if afresh:
                await self._unregister()
            async with asyncio.timeout(ANSWER_S), local_rpcbind(self._path) as rpcbind:
                # Yes is also the answer to an entry that is there already, with this address.
                refused = [one.netid for one in self._bindings if not await rpcbind.set(one)]
        except TimeoutError:
            self.state = f"it does not answer in {ANSWER_S:g} s"
        except OSError as error:
            self.state = f"it cannot be asked: {reason_of(error)}"
        except DstmError as error:
            self.state = f"it cannot be asked: {error}"
        else:
            self.state = f"it refuses {', '.join(refused)}" if refused else REGISTERED
        if self.state != former:
            tell = log.info if self.state == REGISTERED else log.warning
            tell("rpcbind", state=self.state)
        return self.state == REGISTERED

    async def _unregister(self) -> None:
        async with asyncio.timeout(ANSWER_S), local_rpcbind(self._path) as rpcbind:
            for binding in self._bindings:
                await rpcbind.unset(binding)
