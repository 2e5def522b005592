"""`TspSource`: leases by the Tunnel Setup Protocol, over TCP, TLS or UDP.

The connection stays open for as long as the source is used, as servers expect that may take a
closed one for a release. Servers that send us elsewhere are followed, each once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_granted import granted, loss, refusal
from dstmrouter.daemon.tsp_transport import (
    ANSWER_S,
    DatagramTransport,
    SilentError,
    StreamTransport,
    Transport,
)
from dstmrouter.errors import ConfigError
from dstmrouter.protocols.sasl_client import Credential
from dstmrouter.protocols.tsp_client import (
    Answered,
    ClientSession,
    Event,
    Failed,
    Ready,
    Redirected,
    Refused,
)
from dstmrouter.protocols.tsp_greeting import VERSIONS
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.protocols.tsp_xml import BROKER_LIMIT, Action, End, Keepalive, Tunnel

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
    from dstmrouter.protocols.granted import GrantedLease

log = structlog.get_logger(__name__)

KEEPALIVE_S: Final = 30  # what we ask for
INFO_S: Final = 5.0  # for word of a lease that was accepted; it has no routers to wait for

LOST: Final = frozenset({Status.SERVER_ERROR, Status.AUTHENTICATION_FAILED})
"""What a server says in place of an answer when it has no dialogue with us any more."""


class _Elsewhere(Exception):  # noqa: N818 - no error: a way on
    def __init__(self, brokers: tuple[str, ...]) -> None:
        super().__init__()
        self.brokers = brokers


class TspSource:
    """A lease source; connects when first asked and again whenever it must."""

    def __init__(self, server: TspAddress, account: TspAccount) -> None:
        if server.scheme == "tsps" and account.tls is None:
            raise ConfigError(f"{server}: expected a TLS context")
        self._first = server
        self._account = account
        self._lock = asyncio.Lock()
        self._transport: Transport | None = None
        self._session: ClientSession | None = None
        self._client6: IPv6Address | None = None
        self._server = server
        self._silent: set[TspAddress] = set()  # servers that do not answer `info`
        self._stale = False  # an answer to `info` may come yet, and be taken for another

    async def obtain(
        self, client6: IPv6Address, *, hint4: IPv4Address | None, lifetime_s: int | None
    ) -> GrantedLease:
        """Ask for an address, and take it; `SourceError` when there is none."""
        client = End(ipv4=hint4, ipv6=client6, keepalive=Keepalive(interval_s=KEEPALIVE_S))
        wish = Tunnel(action=Action.CREATE, client=client, lease_s=lifetime_s)
        async with self._lock:
            lease = await self._offered(client6, wish)
            if not await self._take(lease):
                lease = await self._offered(client6, wish)
                if not await self._take(lease):
                    log.info("the server closes connections at once", server=str(self._server))
        return lease

    async def renew(self, lease: GrantedLease, *, lifetime_s: int | None) -> GrantedLease:
        """Extend `lease`; the answer may be another address."""
        return await self.obtain(lease.client6, hint4=lease.client4, lifetime_s=lifetime_s)

    async def release(self, lease: GrantedLease) -> None:
        """Give `lease` back."""
        wish = Tunnel(action=Action.DELETE, client=End(ipv6=lease.client6))
        async with self._lock:
            await self._asked(lease.client6, wish)

    async def close(self) -> None:
        """Close connections; harmless when repeated."""
        async with self._lock:
            await self._disconnect()

    async def _offered(self, client6: IPv6Address, wish: Tunnel) -> GrantedLease:
        tunnel = await self._asked(client6, wish)
        return granted(client6, tunnel, self._account.lifetime_unit_s)

    async def _take(self, lease: GrantedLease) -> bool:
        """Accept what was offered; whether it is ours, or `SourceError`.

        Over TCP nothing is said to `accept`, and a server that died after its offer would not be
        missed. So `info` comes behind it. A server that does not answer that is not asked again;
        False: the connection is closed, by one that is gone, or that is done with us.
        """
        assert self._session is not None
        self._session.accept()
        if not isinstance(self._transport, StreamTransport) or self._server in self._silent:
            await self._flush()
            return True
        self._session.info()
        try:
            event = await self._event(INFO_S)
        except SilentError:
            log.info("no word of leases from this server", server=str(self._server))
            self._silent.add(self._server)
            self._stale = True
            return True
        except SourceError as error:
            log.info("accepted, and then", server=str(self._server), reason=str(error))
            return False
        if (why := loss(lease, event)) is not None:
            await self._disconnect()
            raise SourceError(f"{lease.client4} accepted in vain: {why}")
        return True

    async def _asked(self, client6: IPv6Address, wish: Tunnel) -> Tunnel | None:
        """Ask over the connection that we have, then over fresh ones, wherever they lead."""
        if self._transport is not None and self._client6 == client6 and not self._stale:
            try:
                return await self._ask(wish)
            except _Elsewhere as elsewhere:
                return await self._follow(client6, wish, elsewhere.brokers)
            except SourceError as error:
                if self._transport is not None:  # the server has spoken
                    raise
                log.info("connecting again", server=str(self._server), reason=str(error))
        return await self._follow(client6, wish, ())

    async def _follow(
        self, client6: IPv6Address, wish: Tunnel, brokers: tuple[str, ...]
    ) -> Tunnel | None:
        visited = {self._server} if brokers else set()
        waiting = deque([self._server.elsewhere(host) for host in brokers] or [self._first])
        failure = SourceError("no server to ask")
        while waiting and len(visited) < BROKER_LIMIT:
            server = waiting.popleft()
            if server in visited:
                continue
            visited.add(server)
            try:
                await self._connect(server, client6)
                return await self._ask(wish)
            except _Elsewhere as elsewhere:
                log.info("sent elsewhere", server=str(server), to=elsewhere.brokers)
                failure = SourceError(f"{server}: no way on among the servers that it names")
                waiting.extendleft(server.elsewhere(host) for host in reversed(elsewhere.brokers))
            except SourceError as error:
                failure = SourceError(
                    f"{server}: {error}", retry_after_s=error.retry_after_s, final=error.final
                )
        await self._disconnect()
        raise failure

    async def _connect(self, server: TspAddress, client6: IPv6Address) -> None:
        """Connect and authenticate, in the newest version that the server has."""
        for version in VERSIONS:
            await self._disconnect()
            self._stale = False
            self._transport = await self._open(server, client6)
            self._session = ClientSession(version, self._credential(server))
            self._server, self._client6 = server, client6
            event = await self._event()
            if isinstance(event, Ready):
                return
            if event != Refused(Status.BAD_VERSION):
                await self._fail(event)
        raise SourceError(f"none of the versions {', '.join(VERSIONS)} is spoken", final=True)

    async def _open(self, server: TspAddress, client6: IPv6Address) -> Transport:
        if server.scheme == "tsp-udp":
            return await DatagramTransport.connect(server.host, server.port, client6)
        tls = self._account.tls if server.scheme == "tsps" else None
        return await StreamTransport.connect(server.host, server.port, client6, tls)

    def _credential(self, server: TspAddress) -> Credential:
        private = server.scheme == "tsps"
        return Credential(
            host=server.host,
            nonce=lambda: secrets.token_urlsafe(18),
            user=self._account.user,
            password=self._account.password,
            certificate=self._account.certificate and private,
            private=private,
            plain=self._account.plain and server == self._first,
        )

    async def _ask(self, wish: Tunnel) -> Tunnel | None:
        assert self._session is not None
        if wish.action is Action.CREATE:
            self._session.create(wish)
        else:
            self._session.delete(wish)
        event = await self._event()
        if isinstance(event, Answered):
            return event.tunnel
        if isinstance(event, Refused) and event.status not in LOST:
            raise refusal(event.status)  # and the connection can be used again
        return await self._fail(event)

    async def _event(self, within_s: float | None = None) -> Event:
        """What the server says next; a connection that breaks is closed.

        It is kept if the server says nothing `within_s`: SilentError.
        """
        session, transport = self._session, self._transport
        assert session is not None
        assert transport is not None
        try:
            while (event := session.next_event()) is None:
                await transport.send(session.chunks())
                session.receive_data(await transport.receive(within_s or ANSWER_S))
        except SilentError:
            if within_s is None:
                await self._disconnect()
            raise
        except BaseException:  # cancelled, too: half a dialogue is of no use to the next caller
            await self._disconnect()
            raise
        return event

    async def _flush(self) -> None:
        session, transport = self._session, self._transport
        assert session is not None
        assert transport is not None
        try:
            await transport.send(session.chunks())
            await transport.flush()
        except BaseException:
            await self._disconnect()
            raise

    async def _fail(self, event: Event) -> NoReturn:
        """End a dialogue that cannot go on."""
        await self._disconnect()
        if isinstance(event, Redirected):
            raise _Elsewhere(event.brokers)
        if isinstance(event, Refused):
            raise refusal(event.status)
        assert isinstance(event, Failed)
        raise SourceError(event.why, final=event.final)

    async def _disconnect(self) -> None:
        transport, self._transport, self._session = self._transport, None, None
        if transport is not None:
            await transport.close()
