"""The sections of `server.toml` about who may have which address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from dstmrouter.config.checks import decimal, whole
from dstmrouter.config.fields import Global6, Identity, Range4, Unicast4
from dstmrouter.config.model import Section, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dstmrouter.config.checks import Key, Misfit
    from dstmrouter.config.server import ServerPool


MostLeases: TypeAlias = Annotated[int, whole(0, 1 << 24, "leases, 0: no limit")]
PerSecond: TypeAlias = Annotated[float, decimal(0, 1e6, "requests per second, 0: no limit")]
Burst: TypeAlias = Annotated[int, whole(1, 1_000_000, "requests")]


class QuotaSection(Section):
    """`[quota]`: how many leases at the same time; 0 is no limit."""

    per_identity: MostLeases = 0
    per_64: MostLeases = 0
    per_48: MostLeases = 0


class RateSection(Section):
    """`[rate]`: how many requests of clients per second, and at once; 0 is no limit."""

    per_64: PerSecond = 0.0
    per_64_burst: Burst = 20
    total: PerSecond = 0.0
    total_burst: Burst = 1000


class HistorySection(Section):
    """`[history]`: how long it is known who had which address."""

    keep_days: Annotated[int, whole(0, 36_500, "days")] = 365


class ReservationSection(Section):
    """`[[reservation]]`: an address that only one client gets."""

    ipv4: Unicast4
    psid: Annotated[int, whole(0, 4095)] | None = None
    identity: Identity | None = None
    client6: Global6 | None = None

    def misfits(self) -> Iterator[Misfit]:
        """Somebody must be meant."""
        if self.identity is None and self.client6 is None:
            yield ("identity",), "identity, client6 or both"


def reservation_misfits(
    reservations: Sequence[ReservationSection], pools: Sequence[ServerPool]
) -> Iterator[Misfit]:
    """Misfits of reservations with each other and with the pools, which must lend the address."""
    at: tuple[Key, ...] = ("reservation",)
    yield from repeated([(one.ipv4, one.psid) for one in reservations], at, "ipv4")
    owners = [(one.identity, one.client6) for one in reservations]
    keys = ["client6" if one.identity is None else "identity" for one in reservations]
    for (_, i, _), expected in repeated(owners, at, "identity"):
        assert isinstance(i, int)
        yield (*at, i, keys[i]), expected
    for i, one in enumerate(reservations):
        address = Range4(one.ipv4, one.ipv4)
        lent = any(
            pool.span.contains(address) and not any(part.contains(address) for part in pool.exclude)
            for pool in pools
        )
        if not lent:
            yield (*at, i, "ipv4"), "an address that a [[pool]] lends"
