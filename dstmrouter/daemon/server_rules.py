"""The rules of lending as the configuration of a server says them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.lease import LeaseTerms
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.quota import Quotas
from dstmrouter.leases.rate import Rate, Throttle
from dstmrouter.leases.reservation import Reservation
from dstmrouter.leases.selector import Selector
from dstmrouter.leases.shared import SharedBook
from dstmrouter.leases.sharing import Sharing

if TYPE_CHECKING:
    from dstmrouter.config.server import ServerConfig, ServerPool


def address_space(config: ServerConfig) -> AddressSpace:
    """The addresses to lend; the routers' own IPv4 address is never among them."""
    tep4 = config.tep.tep4
    return AddressSpace([_pool(pool, (tep4, tep4)) for pool in config.pool])


def _pool(pool: ServerPool, *never: tuple[Any, Any]) -> Pool:
    span = pool.span
    exclude = [(part.first, part.last) for part in pool.exclude]
    return Pool.of(
        pool.name or str(span),
        [(span.first, span.last)],
        [*exclude, *never],
        selector=Selector(pool.identities, pool.client_prefixes),
        reserve=pool.reserve,
        sharing=Sharing(pool.psid_offset, pool.psid_len),
    )


def lease_book(config: ServerConfig, *, run: int | None = None) -> LeaseBook:
    """An empty book by all rules of the configuration; ConfigError when they do not fit.

    `run` is the number of this run of the servers that share a store, None for one that does not.
    """
    reservations = [
        Reservation(
            ipv4=one.ipv4,
            psid=one.psid or 0,
            client6=one.client6,
            identity=one.identity or "",
        )
        for one in config.reservation
    ]
    rules: dict[str, Any] = {
        "tep6": config.tep.tep6,
        "reservations": reservations,
        "quotas": Quotas(**config.quota.model_dump()),
    }
    space, terms = address_space(config), lease_terms(config)
    if run is None:
        return LeaseBook(space, terms, **rules)
    return SharedBook(space, terms, run=run, **rules)


def request_throttle(config: ServerConfig) -> Throttle:
    """What section `[rate]` admits."""
    rate = config.rate
    return Throttle(
        per_64=Rate(per_s=rate.per_64, burst=rate.per_64_burst),
        total=Rate(per_s=rate.total, burst=rate.total_burst),
    )


def lease_terms(config: ServerConfig) -> LeaseTerms:
    """The terms of section `[lease]`."""
    return LeaseTerms(**config.lease.model_dump())
