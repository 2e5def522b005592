"""`client.toml`: what a client needs to know before it starts."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator

from dstmrouter.config.checks import Misfit, Several, counted, seconds, text, unlike, whole
from dstmrouter.config.fields import AbsolutePath, Global6, Interface
from dstmrouter.config.hosts import Host, Port
from dstmrouter.config.model import LogFormat, LogLevel, Section, repeated
from dstmrouter.config.server import LeaseSeconds

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT4: Final = IPv4Network("0.0.0.0/0")
TSP_PORT: Final = 3653  # RFC 5572 section 6, also over UDP
RPC_PORT: Final = 3654
TSPS_PORT: Final = 3655  # none is assigned for either
PSID_LEN_MAX: Final = 12  # no server of ours has smaller port sets


def _destination(value: object) -> IPv4Network:
    expected = '"default" or an IPv4 prefix without host bits, like 192.0.2.0/24'
    if value == "default":
        return DEFAULT4
    if not isinstance(value, str | IPv4Network):
        raise unlike(expected)
    try:
        return IPv4Network(value)
    except ValueError:
        raise unlike(expected) from None


Destination4: TypeAlias = Annotated[IPv4Network, BeforeValidator(_destination)]
Protocol: TypeAlias = Literal["tsps", "tsp", "tsp-udp", "rpc", "rpc-udp"]
WITH_PORT_SETS: Final[frozenset[Protocol]] = frozenset({"rpc", "rpc-udp"})
Backend: TypeAlias = Literal["auto", "tun", "ip6tnl"]


class ClientSection(Section):
    """`[client]`: the process itself."""

    log_level: LogLevel = "info"
    log_format: LogFormat = "console"
    log_file: AbsolutePath | None = None
    run_dir: AbsolutePath = Path("/run/dstm-client")
    mode: Literal["boot", "demand"] = "boot"
    idle_s: Annotated[float, seconds(1, 86400)] = 300.0


class ServersSection(Section):
    """`[servers]`: whom to ask, and how."""

    hosts: Annotated[Several[Host], counted(0, 50, "servers")] = ()
    hosts_file: AbsolutePath | None = None
    protocols: Annotated[Several[Protocol], counted(1, 5, "protocols")] = ("tsps", "tsp", "rpc")
    tsp_port: Port = TSP_PORT
    tsps_port: Port = TSPS_PORT
    rpc_port: Annotated[int, whole(0, 65535)] = RPC_PORT
    lifetime_unit: Literal["minutes", "seconds"] = "minutes"
    timeout_s: Annotated[float, seconds(1, 300)] = 15.0

    def misfits(self) -> Iterator[Misfit]:
        """Demand somebody to ask, and every protocol once."""
        if not self.hosts and self.hosts_file is None:
            yield ("hosts",), "at least one server, or hosts_file"
        yield from repeated(self.hosts, ("hosts",))
        yield from repeated(self.protocols, ("protocols",))


class CredentialsSection(Section):
    """`[credentials]`: who we are to the server."""

    user: Annotated[str | None, text(r"[^\s\x00-\x1f]{1,255}", "1 to 255 characters")] = None
    password_file: AbsolutePath | None = None
    plain: bool = False

    def misfits(self) -> Iterator[Misfit]:
        """A user is nothing without a password."""
        if (self.user is None) != (self.password_file is None):
            yield ("password_file",), "user and password_file together"


class TlsSection(Section):
    """`[tls]`: for `tsps`."""

    ca_file: AbsolutePath | None = None  # None: the system's
    certificate_file: AbsolutePath | None = None
    key_file: AbsolutePath | None = None

    def misfits(self) -> Iterator[Misfit]:
        """A certificate is nothing without its key."""
        if (self.certificate_file is None) != (self.key_file is None):
            yield ("key_file",), "certificate_file and key_file together"


class LeaseWish(Section):
    """`[lease]`: what to ask for."""

    lifetime_s: LeaseSeconds | None = None
    psid_len: Annotated[int, whole(0, PSID_LEN_MAX)] = 0


class TunnelSection(Section):
    """`[tunnel]`: the interface and what goes through it."""

    name: Interface = "dti0"
    interface: Interface | None = None
    client6: Global6 | None = None
    backend: Backend = "auto"
    mtu: Annotated[int, whole(576, 65495)] | None = None
    encap_limit: bool = False
    routes: Annotated[Several[Destination4], counted(0, 1000, "prefixes")] = (DEFAULT4,)
    kill_switch: bool = False

    def misfits(self) -> Iterator[Misfit]:
        """Refuse the same destination twice."""
        yield from repeated(self.routes, ("routes",))


class KeepaliveSection(Section):
    """`[keepalive]`: is the other end of the tunnel alive?"""

    interval_s: Annotated[float, seconds(0, 3600)] | None = None
    reply_s: Annotated[float, seconds(0.1, 60)] = 5.0
    losses: Annotated[int, whole(1, 100)] = 3
    verify: bool = True


class HooksSection(Section):
    """`[hooks]`: programs to run."""

    bind: AbsolutePath | None = None
    renew: AbsolutePath | None = None
    release: AbsolutePath | None = None
    timeout_s: Annotated[float, seconds(0.1, 300)] = 30.0


class ClientConfig(Section):
    """The whole of `client.toml`."""

    client: ClientSection = ClientSection()
    servers: ServersSection
    credentials: CredentialsSection = CredentialsSection()
    tls: TlsSection = TlsSection()
    lease: LeaseWish = LeaseWish()
    tunnel: TunnelSection = TunnelSection()
    keepalive: KeepaliveSection = KeepaliveSection()
    hooks: HooksSection = HooksSection()

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Those to ask in: only such as have words for what is wanted."""
        wanted = self.servers.protocols
        if not self.lease.psid_len:
            return wanted
        return tuple(name for name in wanted if name in WITH_PORT_SETS)

    def misfits(self) -> Iterator[Misfit]:
        """Check what concerns several tables of the file."""
        backend = self.tunnel.backend
        if self.client.mode == "demand" and backend == "ip6tnl":
            yield ("tunnel", "backend"), '"tun" or "auto": the kernel tunnel holds no packet back'
        if not self.protocols:
            names = "rpc or rpc-udp in [servers] protocols: TSP has no words for port sets"
            yield ("lease", "psid_len"), f"0, or {names}"
