"""What every way of asking for a lease shares: a change of the book becomes a promise.

An operator's request, a TSP session and an RPC call all end here. A method returns when its change
is on disk and, where it gives something, when the required routers forward for it; a refusal is a
`LeaseError` and has changed nothing, or has been taken back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dstmrouter.errors import LeaseError

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.daemon.server_ledger import Feed, Ledger
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.lease import Lease, LeaseRequest


class Lender:
    """Promises leases of `book` once `required` routers have acknowledged them."""

    def __init__(
        self,
        book: LeaseBook,
        ledger: Ledger,
        feed: Feed,
        *,
        required: Collection[str],
        ack_timeout_s: float,
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._feed = feed
        self._required = frozenset(required)
        self._ack_timeout_s = ack_timeout_s

    async def grant(self, request: LeaseRequest) -> Lease:
        """Lend an address, or extend what the client holds; an offer becomes a lease."""
        former = self._book.lease_of(request.client6)
        lease = self._book.grant(request, time.monotonic())
        fresh = former is None or former.lease_id != lease.lease_id
        return await self._promise(lease, take_back=fresh)

    async def offer(self, request: LeaseRequest) -> Lease:
        """Set an address aside, forwarded already, until `grant` takes it or the offer ends."""
        former = self._book.lease_of(request.client6)
        lease = self._book.offer(request, time.monotonic())
        fresh = former is None or former.lease_id != lease.lease_id
        return await self._promise(lease, take_back=fresh)

    async def renew(
        self, ipv4: IPv4Address, client6: IPv6Address, *, lifetime_s: float | None
    ) -> Lease:
        """Extend a lease; its end never moves back."""
        lease = self._book.renew(ipv4, client6, time.monotonic(), lifetime_s=lifetime_s)
        return await self._promise(lease, take_back=False)

    async def release(self, ipv4: IPv4Address, client6: IPv6Address | None = None) -> Lease:
        """End a lease or offer; `client6` None is the operator, who may end any."""
        return await self._settled(self._book.release(ipv4, client6))

    async def hold(self, ipv4: IPv4Address) -> Lease:
        """Take an address away from everybody."""
        return await self._settled(self._book.hold(ipv4))

    async def unhold(self, ipv4: IPv4Address) -> Lease:
        """Let a held address become free again."""
        return await self._settled(self._book.unhold(ipv4))

    async def _settled(self, lease: Lease) -> Lease:
        await self._ledger.settle([lease])
        return lease

    async def _promise(self, lease: Lease, *, take_back: bool) -> Lease:
        """Return once the lease is durable and forwarded; else take a new one back."""
        generation = await self._ledger.settle([lease])
        missing = await self._feed.wait_acked(generation, self._required, self._ack_timeout_s)
        if missing:
            if take_back and self._book.is_current(lease):
                await self._ledger.settle([self._book.release(lease.ipv4)])
            names = ", ".join(sorted(missing))
            text = f"no acknowledgement in {self._ack_timeout_s:g} s by router {names}, try again"
            raise LeaseError("try-again", text)
        if not self._book.is_current(lease):
            raise LeaseError("try-again", f"{lease.ipv4} was taken back meanwhile")
        return lease
