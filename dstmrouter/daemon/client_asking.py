"""The questions of a leasing client: where servers are, for a lease, and its end."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import structlog

from dstmrouter.daemon.client_address import choose6, has_lost
from dstmrouter.daemon.client_facts import end
from dstmrouter.daemon.client_servers import resolve, servers_of
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.errors import DstmError
from dstmrouter.io.addresses6 import addresses6

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.config.client import ClientConfig
    from dstmrouter.daemon.client_facts import Facts
    from dstmrouter.daemon.client_servers import ServerSource
    from dstmrouter.daemon.client_tunnel import ClientTunnel
    from dstmrouter.io.addresses6 import Address6
    from dstmrouter.protocols.clientaction import Ask
    from dstmrouter.protocols.granted import GrantedLease
    from dstmrouter.protocols.lifecycle import Lifecycle

log = structlog.get_logger(__name__)


class Asking:
    """Answers of `life`'s questions become facts; at most one question is open."""

    def __init__(
        self,
        config: ClientConfig,
        life: Lifecycle,
        facts: Facts,
        tunnel: ClientTunnel,
        source_of: Callable[[str], ServerSource],
    ) -> None:
        self._config = config
        self._life = life
        self._facts = facts
        self._tunnel = tunnel
        self._source_of = source_of
        self._sources: list[ServerSource] = []  # by number
        self._lender: ServerSource | None = None
        self._open: asyncio.Task[None] | None = None
        self._asked: ServerSource | None = None
        self._client6: IPv6Address | None = None
        self._server6: IPv6Address | None = None
        self._seen: frozenset[Address6] = frozenset()  # when the network changed last
        self.error: str | None = None  # why the last question brought nothing

    def describe(self) -> dict[str, str | None]:
        """Who has lent, and why the last question brought nothing."""
        lender = self._lender
        return {
            "server": None if lender is None else lender.server,
            "protocol": None if lender is None else lender.protocol,
            "error": self.error,
        }

    def discover(self) -> None:
        """Look for servers and for the address to ask from."""
        self._open = self._facts.start(self._discover())

    def ask(self, ask: Ask) -> None:
        """Ask a server for a lease."""
        self._open = self._facts.start(self._ask(ask))

    def release(self, lease: GrantedLease, server: int) -> None:
        """Give a lease back."""
        self._open = self._facts.start(self._release(lease, self._sources[server]))

    async def abandon(self) -> None:
        """Ask no more; when this returns, nothing more comes."""
        await end(self._open)
        if self._asked is not None:  # whose next answer could be to this question
            self._facts.start(self._asked.close())

    async def close(self) -> None:
        """End questions and connections."""
        await end(self._open)
        await asyncio.gather(*(source.close() for source in self._sources))

    def look_at_network(self, now: float) -> None:
        """Addresses or routes have changed: perhaps we must ask from another address."""
        former, self._seen = self._seen, frozenset(addresses6())
        if self._client6 is None or self._server6 is None:
            if self._life.wanted and self._seen != former:
                self._life.client6_changed(now)  # there was none; now there may be one
        elif has_lost(self._config.tunnel, self._server6, self._client6):
            log.info("IPv6 address is gone", client6=str(self._client6))
            self._client6 = None
            self._life.client6_changed(now)

    async def _discover(self) -> None:
        try:
            servers, address = await self._find_servers()
            await self._demand_no_native4()
            client6 = choose6(self._config.tunnel, address, self._client6)
        except DstmError as error:
            self._client6 = None
            self._note("nobody to ask", error)
            self._facts.happened(self._life.no_server)
            return
        self._client6, self._server6 = client6, address
        await self._use(servers)
        self._facts.happened(lambda now: self._life.found(len(servers), client6, now))

    async def _find_servers(self) -> tuple[list[str], IPv6Address]:
        """Those that have an address, and that of the first; DstmError if none has."""
        names = servers_of(self._config.servers)
        results = await asyncio.gather(*map(resolve, names), return_exceptions=True)
        found = [
            (name, result)
            for name, result in zip(names, results, strict=True)
            if isinstance(result, IPv6Address)
        ]
        unexpected = [one for one in results if isinstance(one, BaseException)]
        for error in unexpected:
            if not isinstance(error, DstmError):
                raise error
        if not found:
            reasons = "; ".join(str(error) for error in unexpected)
            raise DstmError(reasons or f"no server in {self._config.servers.hosts_file}")
        return [name for name, _ in found], found[0][1]

    async def _demand_no_native4(self) -> None:
        native = await self._tunnel.native4()
        if native is not None:
            raise DstmError(f"this host has IPv4 of its own: {native}")

    async def _use(self, servers: list[str]) -> None:
        """Keep the sources of servers that are still there."""
        former = {source.server: source for source in self._sources}
        self._sources = [
            former.pop(name) if name in former else self._source_of(name) for name in servers
        ]
        for source in former.values():
            await source.close()

    async def _ask(self, ask: Ask) -> None:
        source = self._asked = self._sources[ask.server]
        lifetime_s = self._config.lease.lifetime_s
        try:
            if ask.renew is not None:
                lease = await source.renew(ask.renew, lifetime_s=lifetime_s)
            else:
                lease = await source.obtain(ask.client6, hint4=ask.hint4, lifetime_s=lifetime_s)
        except DstmError as error:
            self._note("refused", error)
            pause = error.retry_after_s if isinstance(error, SourceError) else None
            final = isinstance(error, SourceError) and error.final
            self._facts.happened(
                lambda now: self._life.refused(ask.serial, now, retry_after_s=pause, final=final)
            )
            return
        self._lender, self.error = source, None
        self._facts.happened(lambda now: self._life.granted(ask.serial, lease, now))

    async def _release(self, lease: GrantedLease, source: ServerSource) -> None:
        try:
            await source.release(lease)
        except DstmError as error:  # it ends by itself then
            self._note("not released", error)
        self._facts.happened(self._life.released)

    def _note(self, what: str, error: DstmError) -> None:
        self.error = str(error)
        log.warning(what, reason=str(error))
