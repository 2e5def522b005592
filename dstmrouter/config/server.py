"""`server.toml`: what a lease server needs to know before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from dstmrouter.config.checks import Misfit, Several, counted, decimal, seconds, text, whole
from dstmrouter.config.fields import (
    AbsolutePath,
    Endpoint,
    Identity,
    Name,
    Prefix4,
    Prefix6,
    Range4,
    SomeRange4,
    Unicast4,
)
from dstmrouter.config.model import (
    CurveConfig,
    LogFormat,
    LogLevel,
    Section,
    Tep6List,
    curve_misfits,
    overlaps,
    repeated,
)
from dstmrouter.config.rpc import RpcSection
from dstmrouter.config.server_rules import (
    HistorySection,
    QuotaSection,
    RateSection,
    ReservationSection,
    reservation_misfits,
)
from dstmrouter.config.tsp import TspSection

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT_SETS_MAX: Final = 1 << 24  # as many as a /8 has addresses
# The largest 32-bit value means "forever" on the wire, so it is no lifetime.
LeaseSeconds: TypeAlias = Annotated[int, whole(1, 0xFFFFFFFE, "seconds")]
TSP_LEASE_S: Final = 60  # RFC 5572 section 4.7.1: a lease below cannot be told
TSP_OFFER_S: Final = 5  # for an answer to the client and its accept
WaitSeconds: TypeAlias = Annotated[int, whole(0, 86400, "seconds")]


class ServerSection(Section):
    """`[server]`: the process itself."""

    name: Name
    log_level: LogLevel = "info"
    log_format: LogFormat = "console"


class LeaseSection(Section):
    """`[lease]`: how long things last, in seconds."""

    default_s: LeaseSeconds = 900
    min_s: LeaseSeconds = 60
    max_s: LeaseSeconds = 86400
    quarantine_s: WaitSeconds = 240
    offer_s: WaitSeconds = 30
    grace_s: WaitSeconds = 30

    def misfits(self) -> Iterator[Misfit]:
        """min_s <= default_s <= max_s."""
        if self.min_s > self.max_s:
            yield ("min_s",), f"at most max_s = {self.max_s}"
        elif not self.min_s <= self.default_s <= self.max_s:
            yield (
                ("default_s",),
                f"a value from min_s = {self.min_s} to max_s = {self.max_s}",
            )


class ServerPool(Section):
    """`[[pool]]`: IPv4 addresses to lend, as a prefix or from `first` to `last`, and to whom."""

    name: Name | None = None
    prefix: Prefix4 | None = None
    first: Unicast4 | None = None
    last: Unicast4 | None = None
    exclude: Several[SomeRange4] = ()
    identities: Annotated[Several[Identity], counted(0, 65536, "identities")] = ()
    client_prefixes: Annotated[Several[Prefix6], counted(0, 65536, "IPv6 prefixes")] = ()
    reserve: Annotated[float, decimal(0, 1, "share of the addresses")] = 0.0
    psid_len: Annotated[int, whole(0, 12, "bits")] = 0
    psid_offset: Annotated[int, whole(0, 6, "bits")] = 0

    @property
    def span(self) -> Range4:
        """The first and the last address; `exclude` lies within."""
        if self.prefix is not None:
            return Range4.of_network(self.prefix)
        assert self.first is not None, "checked by misfits"
        assert self.last is not None, "checked by misfits"
        return Range4(self.first, self.last)

    def misfits(self) -> Iterator[Misfit]:
        """Demand one complete way to say which addresses, and exclusions within them."""
        if (self.prefix is None) == (self.first is None):
            yield ("prefix",), "either prefix, or first and last"
        elif (self.first is None) != (self.last is None):
            yield ("last",), "first and last together"
        elif self.first is not None and self.last is not None and self.last < self.first:
            yield ("last",), f"an address from first = {self.first} on"
        else:
            yield from self._sharing_misfits()
            for i, part in enumerate(self.exclude):
                if not self.span.contains(part):
                    yield ("exclude", i), f"addresses within {self.span}"

    def _sharing_misfits(self) -> Iterator[Misfit]:
        """Port sets need a length, and each costs memory."""
        if self.psid_offset and not self.psid_len:
            yield ("psid_len",), f"1 to 12 bits with psid_offset = {self.psid_offset}"
        if self.psid_offset + self.psid_len > 16:
            yield ("psid_len",), f"at most {16 - self.psid_offset} with this psid_offset"
        if len(self.span) << self.psid_len > PORT_SETS_MAX:
            yield (
                ("psid_len",),
                f"at most {PORT_SETS_MAX} port sets, here {len(self.span)} addresses",
            )


class TepSection(Section):
    """`[tep]`: the routers' end of the tunnels, as clients are told."""

    tep6: Tep6List
    tep4: Unicast4

    def misfits(self) -> Iterator[Misfit]:
        """Refuse the same end point twice."""
        yield from repeated(self.tep6, ("tep6",))


class StoreSection(Section):
    """`[store]`: where leases survive a crash."""

    path: AbsolutePath = Path("/var/lib/dstm-server/leases.sqlite")
    postgresql: Annotated[str, text(r"(?s:.){1,1000}", "a libpq connection string")] | None = None

    def misfits(self) -> Iterator[Misfit]:
        """Leases have one place."""
        if self.postgresql is not None and "path" in self.model_fields_set:
            yield ("path",), "either path or postgresql"


class FeedSection(Section):
    """`[feed]`: the sockets for routers."""

    bind: Endpoint = "ipc:///run/dstm-server/feed"
    control: Endpoint = "ipc:///run/dstm-server/feed-control"
    required: Several[Name] = ()
    ack_timeout_s: Annotated[float, seconds(0.1, 300)] = 5.0
    heartbeat_s: Annotated[float, seconds(0.1, 300)] = 5.0

    def misfits(self) -> Iterator[Misfit]:
        """Refuse one router twice and one endpoint for two sockets."""
        yield from repeated(self.required, ("required",))
        if self.bind == self.control:
            yield ("control",), "another endpoint than bind"


class ControlSection(Section):
    """`[control]`: the socket for operators."""

    bind: Endpoint = "ipc:///run/dstm-server/control"


class ServerConfig(Section):
    """The whole of `server.toml`."""

    server: ServerSection
    lease: LeaseSection = LeaseSection()
    pool: Annotated[Several[ServerPool], counted(1, 256, "pools")]
    reservation: Annotated[Several[ReservationSection], counted(0, 65536, "reservations")] = ()
    quota: QuotaSection = QuotaSection()
    rate: RateSection = RateSection()
    tep: TepSection
    store: StoreSection = StoreSection()
    history: HistorySection = HistorySection()
    feed: FeedSection = FeedSection()
    control: ControlSection = ControlSection()
    rpc: RpcSection | None = None
    curve: CurveConfig | None = None
    tsp: TspSection | None = None

    def misfits(self) -> Iterator[Misfit]:
        """Check what concerns several tables of the file."""
        yield from repeated([pool.name or i for i, pool in enumerate(self.pool)], ("pool",), "name")
        keys = ["first" if pool.prefix is None else "prefix" for pool in self.pool]
        yield from overlaps([pool.span for pool in self.pool], keys)
        yield from reservation_misfits(self.reservation, self.pool)
        if self.control.bind in {self.feed.bind, self.feed.control}:
            yield ("control", "bind"), "another endpoint than those of [feed]"
        endpoints = (self.feed.bind, self.feed.control, self.control.bind)
        yield from curve_misfits(self.curve, endpoints)
        if self.tsp is not None and self.lease.default_s < TSP_LEASE_S:
            yield ("lease", "default_s"), f"at least {TSP_LEASE_S}, because [tsp] counts in minutes"
        if self.tsp is not None and self.lease.offer_s < TSP_OFFER_S:
            yield ("lease", "offer_s"), f"at least {TSP_OFFER_S}, for a client of [tsp] to accept"
