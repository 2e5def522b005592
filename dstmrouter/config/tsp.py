"""`[tsp]` of `server.toml`: the Tunnel Setup Protocol, off when the section is missing."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from dstmrouter.config.checks import Misfit, Several, counted, parsed, seconds, text, whole
from dstmrouter.config.fields import AbsolutePath
from dstmrouter.config.model import Section, repeated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Mechanism: TypeAlias = Literal["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS", "EXTERNAL"]
Port: TypeAlias = Annotated[int, whole(0, 65535)]  # 0: any free one
Listen6: TypeAlias = Annotated[
    IPv6Address, parsed(IPv6Address, IPv6Address, "an IPv6 address, :: for all of this host")
]
Realm: TypeAlias = Annotated[
    str, text(r"[A-Za-z0-9._@-]{1,63}", "1 to 63 letters, digits, '.', '_', '@' or '-'")
]
Broker: TypeAlias = Annotated[
    str, text(r"[A-Za-z0-9.:-]{1,253}", "an IPv6 address, an IPv4 address or a host name")
]
KeepaliveSeconds: TypeAlias = Annotated[int, whole(1, 86400, "seconds")]

BROKERS_LIMIT: Final = 1100
"""Octets of the list that clients are told, which must fit a datagram of 1,232."""

BROKER_OVERHEAD: Final = 48  # octets of elements around each name
WITH_PASSWORDS: Final = frozenset({"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"})


class TspTlsSection(Section):
    """`[tsp.tls]`: TSP inside TLS 1.3, on a port of its own."""

    port: Port = 3655
    certificate: AbsolutePath
    key: AbsolutePath
    client_ca: AbsolutePath | None = None
    mechanisms: Annotated[Several[Mechanism], counted(1, 5, "mechanisms")] = ("SCRAM-SHA-256",)

    def misfits(self) -> Iterator[Misfit]:
        """Refuse a mechanism twice, and certificates of clients that nobody can check."""
        yield from repeated(self.mechanisms, ("mechanisms",))
        if "EXTERNAL" in self.mechanisms and self.client_ca is None:
            yield ("client_ca",), "the file of the authority that signs clients, for EXTERNAL"


class TspSection(Section):
    """`[tsp]`: where to listen, who may ask, and how much."""

    listen: Annotated[Several[Listen6], counted(1, 16, "IPv6 addresses")] = (IPv6Address("::"),)
    port: Port = 3653
    tcp: bool = True
    udp: bool = True
    mechanisms: Annotated[Several[Mechanism], counted(1, 5, "mechanisms")] = ("SCRAM-SHA-256",)
    plain_without_tls: bool = False
    anonymous_udp: bool = False
    realm: Realm = "dstm"
    users_file: AbsolutePath | None = None
    keepalive_min_s: KeepaliveSeconds = 5
    keepalive_max_s: KeepaliveSeconds = 300
    release_on_close: bool = False
    sessions: Annotated[int, whole(1, 1_000_000, "sessions")] = 10_000
    per_64: Annotated[int, whole(1, 1_000_000, "sessions")] = 32
    requests_per_s: Annotated[float, seconds(0.1, 100_000)] = 5.0
    burst: Annotated[int, whole(1, 1_000_000, "requests")] = 30
    brokers: Annotated[Several[Broker], counted(0, 50, "servers")] = ()
    redirect: Literal["full", "always"] = "full"
    tls: TspTlsSection | None = None

    def misfits(self) -> Iterator[Misfit]:
        """Check what mechanisms need, and pairs of limits."""
        yield from repeated(self.mechanisms, ("mechanisms",))
        yield from self._mechanism_misfits()
        if not self.tcp and not self.udp and self.tls is None:
            yield ("tcp",), "tcp, udp or a [tsp.tls] section"
        if self.keepalive_min_s > self.keepalive_max_s:
            yield ("keepalive_min_s",), f"at most keepalive_max_s = {self.keepalive_max_s}"
        if sum(BROKER_OVERHEAD + len(name) for name in self.brokers) > BROKERS_LIMIT:
            expected = f"{BROKERS_LIMIT} octets at most, {BROKER_OVERHEAD} more than each name has"
            yield ("brokers",), expected
        if self.redirect == "always" and not self.brokers:
            yield ("brokers",), 'at least one server, because of redirect = "always"'
        if self.tls is not None and self.tcp and self.tls.port == self.port != 0:
            yield ("tls", "port"), f"another port than [tsp] port = {self.port}"

    def _mechanism_misfits(self) -> Iterator[Misfit]:
        if "EXTERNAL" in self.mechanisms:
            yield _at(self.mechanisms, "EXTERNAL"), "a mechanism that works without TLS"
        if "PLAIN" in self.mechanisms and not self.plain_without_tls:
            expected = "no password in the clear, or plain_without_tls = true"
            yield _at(self.mechanisms, "PLAIN"), expected
        within_tls = self.tls.mechanisms if self.tls is not None else ()
        if WITH_PASSWORDS & {*self.mechanisms, *within_tls} and self.users_file is None:
            yield ("users_file",), "the file that `dstmctl tsp-user` keeps"


def _at(mechanisms: Iterable[str], name: str) -> tuple[str | int, ...]:
    return "mechanisms", list(mechanisms).index(name)
