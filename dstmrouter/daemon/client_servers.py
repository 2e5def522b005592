"""Which servers a client may ask, and how they are asked: every protocol of a server in turn."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from dstmrouter.config.hosts import Host
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from ipaddress import IPv4Address
    from pathlib import Path

    from dstmrouter.config.client import ServersSection
    from dstmrouter.daemon.lease_source import LeaseSource
    from dstmrouter.protocols.granted import GrantedLease

log = structlog.get_logger(__name__)
T = TypeVar("T")

HOST: Final = TypeAdapter[str](Host)
HOSTS_LIMIT: Final = 50
FILE_LEN: Final = 1 << 14  # octets; more than 50 names


def servers_of(config: ServersSection) -> list[str]:
    """The servers of the hosts file, which is read now, and those of the configuration."""
    told = [] if config.hosts_file is None else _read_hosts(config.hosts_file)
    return list(dict.fromkeys([*told, *config.hosts]))[:HOSTS_LIMIT]


def _read_hosts(path: Path) -> list[str]:
    """The good lines of a file that others write; that it is missing is nothing special."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_LEN).decode("ascii", "replace")
    except OSError as error:
        log.info("no servers from this file", file=str(path), reason=error.strerror)
        return []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if host := line.partition("#")[0].strip():
            try:
                found.append(HOST.validate_python(host))
            except ValidationError:
                log.warning("no server", file=str(path), line=number, text=host[:60])
    return found


async def resolve(host: str) -> IPv6Address:
    """The first IPv6 address of `host`; DstmError if it has none now."""
    try:
        return IPv6Address(host)
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, None, family=socket.AF_INET6, type=socket.SOCK_STREAM
        )
    except OSError as error:  # a gaierror is one
        raise DstmError(f"{host}: {error.strerror}") from None
    return IPv6Address(found[0][4][0])


class ServerSource:
    """A `LeaseSource` for one server in all its protocols; the first that helps is kept.

    `makers` are protocols by name, in order of preference. `protocol` is the one that lent.
    """

    def __init__(
        self,
        server: str,
        makers: Sequence[tuple[str, Callable[[], LeaseSource]]],
        *,
        timeout_s: float,
    ) -> None:
        self.server = server
        self.protocol: str | None = None
        self._makers = makers
        self._timeout_s = timeout_s
        self._sources: dict[str, LeaseSource] = {}

    async def obtain(
        self, client6: IPv6Address, *, hint4: IPv4Address | None, lifetime_s: int | None
    ) -> GrantedLease:
        """Ask in one protocol after the other; SourceError has the reasons of all."""
        refusals: list[SourceError] = []
        for name, _ in self._makers:
            source = self._source(name)
            try:
                asked = source.obtain(client6, hint4=hint4, lifetime_s=lifetime_s)
                lease = await self._in_time(name, asked)
            except SourceError as error:
                refusals.append(error)
                await source.close()
            else:
                self.protocol = name
                return lease
        raise _all_of(refusals)

    async def renew(self, lease: GrantedLease, *, lifetime_s: int | None) -> GrantedLease:
        """Extend `lease` in the protocol in which it was obtained."""
        name = self._lender()
        return await self._in_time(name, self._source(name).renew(lease, lifetime_s=lifetime_s))

    async def release(self, lease: GrantedLease) -> None:
        """Give `lease` back in the protocol in which it was obtained."""
        name = self._lender()
        await self._in_time(name, self._source(name).release(lease))

    async def close(self) -> None:
        """Close all connections; harmless when repeated."""
        sources, self._sources = self._sources, {}
        for source in sources.values():
            await source.close()

    def _lender(self) -> str:
        assert self.protocol is not None, "nothing was obtained here"
        return self.protocol

    def _source(self, name: str) -> LeaseSource:
        if name not in self._sources:
            self._sources[name] = dict(self._makers)[name]()
        return self._sources[name]

    async def _in_time(self, name: str, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            text = f"{self.server}: no answer over {name} in {self._timeout_s:g} s"
            raise SourceError(text) from None


def _all_of(refusals: Sequence[SourceError]) -> SourceError:
    """One refusal for all; final only if each is, with the shortest pause that one asks for."""
    pauses = [one.retry_after_s for one in refusals if one.retry_after_s is not None]
    return SourceError(
        "; ".join(str(one) for one in refusals),
        retry_after_s=min(pauses, default=None),
        final=all(one.final for one in refusals),
    )
