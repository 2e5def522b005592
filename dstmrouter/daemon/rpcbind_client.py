"""rpcbind, which knows where the RPC programs of a host listen: to register there, or to ask it.

Registering is for programs of the same host alone. Over its UNIX socket rpcbind knows our user,
who then is the owner of the entry; over ::1 everybody is the same "unknown".
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.rpc_client import Transport, call_procedure, stream_to, unix_stream_to
from dstmrouter.protocols import rpcbind
from dstmrouter.protocols.rpcbind import Binding, Procedure, decode_address, decode_done

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOCAL_SOCKET: Final = Path("/run/rpcbind.sock")


class Rpcbind:
    """The calls; errors are those of `rpc_client.call_procedure`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def set(self, binding: Binding) -> bool:
        """Register; False if somebody else has registered this program, version and netid."""
        return decode_done(await self._call(Procedure.SET, binding))

    async def unset(self, binding: Binding) -> bool:
        """Take a registration away; False if there was none of ours."""
        return decode_done(await self._call(Procedure.UNSET, binding))

    async def port(self, program: int, version: int) -> int | None:
        """The port of a program on the netid of our own transport; None if it is not registered.

        RFC 1833 section 2.2.1 has the server infer the netid like that. The address that comes with
        the port is left out: rpcbind may know another one of the host than we can reach.
        """
        wanted = Binding(program=program, version=version, netid="")
        found = decode_address(await self._call(Procedure.GETADDR, wanted))
        return None if found is None else found[1]

    async def _call(self, procedure: Procedure, binding: Binding) -> bytes:
        return await call_procedure(
            self._transport, rpcbind.PROGRAM, rpcbind.VERSION, procedure, binding.encode()
        )


@contextlib.asynccontextmanager
async def local_rpcbind(path: Path = LOCAL_SOCKET) -> AsyncIterator[Rpcbind]:
    """The rpcbind of this host, over its UNIX socket or else ::1; OSError if there is none."""
    way = unix_stream_to(path) if path.exists() else stream_to("::1", rpcbind.PORT)
    async with way as transport:
        yield Rpcbind(transport)
