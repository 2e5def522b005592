"""`RpcSource`: leases from a dstm-server (or any other that has `docs/dstm.x`) over ONC RPC.

A call comes from client6 itself, because a server lends to the source of a call. Each question has
a connection of its own: they are minutes apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.rpc_client import (
    RpcError,
    Transport,
    call_procedure,
    datagrams_to,
    reason_of,
    stream_to,
)
from dstmrouter.daemon.rpcbind_client import Rpcbind
from dstmrouter.errors import DecodeError
from dstmrouter.protocols import rpcbind
from dstmrouter.protocols.dstm_rpc import (
    NO_HINT,
    PROGRAM,
    VERSION,
    AllocateArgs,
    CookieNeeded,
    Lease,
    LeaseResult,
    LeaseState,
    Procedure,
    ReferenceArgs,
    Refused,
    RetryLater,
    Stat,
    decode_result,
    decode_stat,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import GrantedLease

WHOLE_PREFIX4: Final = 32
RETRY_MAX_S: Final = 3600  # a server cannot silence its clients for longer
BUSY_RETRY_S: Final = 5  # where the protocol has no room for a number

FINAL: Final = frozenset({Stat.EPERM, Stat.EBADADDR6, Stat.EUNSUPP})
"""A plain no: the same question gets the same answer."""

GONE: Final = frozenset({Stat.ENOLEASE, Stat.ESTALE})
"""The server does not know the lease: ask for a new one, and for the same address."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and whether a share of an address is wanted.

    `client_id` names the client to the server, next to client6: up to 128 octets, which must be the
    same for as long as a lease is to be kept. `psid_len` other than 0 wants a port set, if possible
    one of 2^`psid_len` (RFC 7597 section 5.1).
    """

    client_id: bytes = b""
    psid_len: int = 0


ANYBODY: Final = Asker()


class RpcSource:
    """A `LeaseSource` at `server` (address or name), over TCP or UDP on IPv6, for `asker`.

    Without a `port` the server's rpcbind is asked for it, each time anew.
    """

    def __init__(
        self,
        server: str,
        *,
        port: int | None = None,
        transport: Literal["tcp", "udp"] = "tcp",
        program: int = PROGRAM,
        asker: Asker = ANYBODY,
        timeout_s: float = 20.0,
    ) -> None:
        self._server = server
        self._port = port
        self._connect = stream_to if transport == "tcp" else datagrams_to
        self._transport = transport
        self._program = program
        self._asker = asker
        self._timeout_s = timeout_s

    async def obtain(
        self, client6: IPv6Address, *, hint4: IPv4Address | None, lifetime_s: int | None
    ) -> GrantedLease:
        """Ask for an address, and take it; `SourceError` when there is none."""
        args = AllocateArgs(
            client6=client6,
            client_id=self._asker.client_id,
            hint4=hint4 or NO_HINT,
            want_lifetime=lifetime_s or 0,
            want_psid_len=self._asker.psid_len,
        )
        async with self._asking(client6) as transport:
            result = await self._lease(transport, Procedure.ALLOCATE, args)
            if isinstance(result, CookieNeeded):
                args = dataclasses.replace(args, cookie=result.cookie)
                result = await self._lease(transport, Procedure.ALLOCATE, args)
        return self._granted(result, client6)

    async def renew(self, lease: GrantedLease, *, lifetime_s: int | None) -> GrantedLease:
        """Extend `lease`; one that the server has lost is asked for again."""
        args = self._reference(lease, lifetime_s)
        async with self._asking(lease.client6) as transport:
            result = await self._lease(transport, Procedure.RENEW, args)
        if isinstance(result, Refused) and result.stat in GONE:
            return await self.obtain(lease.client6, hint4=lease.client4, lifetime_s=lifetime_s)
        return self._granted(result, lease.client6)

    async def release(self, lease: GrantedLease) -> None:
        """Give `lease` back."""
        args = self._reference(lease, None)
        async with self._asking(lease.client6) as transport:
            stat = decode_stat(await self._call(transport, Procedure.RELEASE, args))
        if stat is not Stat.OK:
            busy = BUSY_RETRY_S if stat in {Stat.EBUSY, Stat.EINPROGRESS} else None
            raise self._error(stat.name, retry_after_s=busy, final=stat in FINAL)

    async def close(self) -> None:
        """Nothing stays open between questions."""

    def _reference(self, lease: GrantedLease, lifetime_s: int | None) -> ReferenceArgs:
        assert lease.lease_id is not None, "the lease came over another protocol"
        return ReferenceArgs(
            lease_id=lease.lease_id,
            client6=lease.client6,
            client_id=self._asker.client_id,
            want_lifetime=lifetime_s or 0,
        )

    @contextlib.asynccontextmanager
    async def _asking(self, client6: IPv6Address) -> AsyncIterator[Transport]:
        """A way to the server, for one question; every failure becomes a SourceError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                port = self._port or await self._port_of_program(client6)
                async with self._connect(self._server, port, client6) as transport:
                    yield transport
        except RpcError as error:
            raise self._error(str(error), final=error.permanent) from None
        except DecodeError as error:
            raise self._error(f"an answer that cannot be: {error}") from None
        except TimeoutError:
            raise self._error(f"no answer in {self._timeout_s:g} s") from None
        except OSError as error:
            raise self._error(reason_of(error)) from None

    async def _port_of_program(self, client6: IPv6Address) -> int:
        async with self._connect(self._server, rpcbind.PORT, client6) as transport:
            port = await Rpcbind(transport).port(self._program, VERSION)
        if port is None:
            raise RpcError(f"its rpcbind does not know program {self._program:#x}")
        return port

    async def _lease(
        self, transport: Transport, procedure: Procedure, args: AllocateArgs | ReferenceArgs
    ) -> LeaseResult:
        return decode_result(await self._call(transport, procedure, args))

    async def _call(
        self, transport: Transport, procedure: Procedure, args: AllocateArgs | ReferenceArgs
    ) -> bytes:
        return await call_procedure(transport, self._program, VERSION, procedure, args.encode())

    def _granted(self, result: LeaseResult, client6: IPv6Address) -> GrantedLease:
        """The lease, if it is one that can be used."""
        if isinstance(result, CookieNeeded):
            raise self._error("it does not take its own cookie")
        if isinstance(result, RetryLater):
            wait_s = min(result.retry_after, RETRY_MAX_S)
            raise self._error(result.stat.name, retry_after_s=wait_s)
        if isinstance(result, Refused):
            text = "".join(c if c.isprintable() else "?" for c in result.text)
            raise self._error(f"{result.stat.name}: {text}", final=result.stat in FINAL)
        if why := _unusable(result, client6):
            raise self._error(f"a lease that cannot be used: {why}")
        return result.granted()

    def _error(
        self, text: str, *, retry_after_s: float | None = None, final: bool = False
    ) -> SourceError:
        port = "" if self._port is None else f" port {self._port}"
        where = f"RPC server {self._server}{port} ({self._transport})"
        return SourceError(f"{where}: {text}", retry_after_s=retry_after_s, final=final)


def _unusable(lease: Lease, client6: IPv6Address) -> str | None:
    """What is wrong with the lease, or nothing."""
    if lease.client6 != client6:
        return f"it is for {lease.client6}"
    if lease.prefix4_len != WHOLE_PREFIX4:
        return f"a prefix of {lease.prefix4_len} bits"
    if lease.ports.psid_len and lease.ports.fault:
        return f"port set {lease.ports}: {lease.ports.fault}"
    if lease.state is not LeaseState.ACTIVE or not lease.lifetime:
        return f"{lease.state.name}, {lease.lifetime} s left"
    return None
