"""What every way of asking for a lease shares: a change of the book becomes a promise.

An operator's request, a TSP session and an RPC call all end here. A method returns when its change
is on disk and, where it gives something, when the required routers forward for it; a refusal is a
`LeaseError` and has changed nothing, or has been taken back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.server_ledger import SupersededError
from dstmrouter.errors import LeaseError
from dstmrouter.leases.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.daemon.server_ledger import AnyLedger, Feed
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.lease import Lease, LeaseRequest
    from dstmrouter.leases.rate import Throttle


DECISIONS: Final = 10  # each sees all that came before: more than a few are bad luck


class Lender:
    """Promises leases of `book` once `required` routers have acknowledged them.

    `throttle` limits how often clients may ask; `by_operator` passes it by.
    """

    def __init__(
        self,
        book: LeaseBook,
        ledger: AnyLedger,
        feed: Feed,
        *,
        required: Collection[str],
        ack_timeout_s: float,
        throttle: Throttle | None = None,
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._feed = feed
        self._required = frozenset(required)
        self._ack_timeout_s = ack_timeout_s
        self._throttle = throttle

    async def grant(self, request: LeaseRequest, *, by_operator: bool = False) -> Lease:
        """Lend an address, or extend what the client holds; an offer becomes a lease."""
        return await self._lend(request, self._book.grant, by_operator=by_operator)

    async def offer(self, request: LeaseRequest) -> Lease:
        """Set an address aside, forwarded already, until `grant` takes it or the offer ends."""
        return await self._lend(request, self._book.offer, by_operator=False)

    async def renew(
        self,
        ipv4: IPv4Address,
        client6: IPv6Address,
        *,
        lifetime_s: float | None,
        by_operator: bool = False,
    ) -> Lease:
        """Extend a lease; its end never moves back."""
        if self._throttle is not None and not by_operator:
            holds = self._book.lease_of(client6) is not None
            self._throttle.admit(client6, time.monotonic(), holds=holds)

        def decide() -> tuple[Lease, bool]:
            now = time.monotonic()
            return self._book.renew(ipv4, client6, now, lifetime_s=lifetime_s), False

        return await self._promise(decide)

    async def release(
        self, ipv4: IPv4Address, client6: IPv6Address | None = None, *, psid: int = 0
    ) -> Lease:
        """End a lease or offer; `client6` None is the operator, who may end any."""
        return await self._settled(lambda: self._book.release(ipv4, client6, psid=psid))

    async def hold(self, ipv4: IPv4Address, *, psid: int = 0) -> Lease:
        """Take an address, or a port set of it, away from everybody."""
        return await self._settled(lambda: self._book.hold(ipv4, psid=psid))

    async def unhold(self, ipv4: IPv4Address, *, psid: int = 0) -> Lease:
        """Let what is held become free again."""
        return await self._settled(lambda: self._book.unhold(ipv4, psid=psid))

    async def _lend(
        self,
        request: LeaseRequest,
        change: Callable[[LeaseRequest, float], Lease],
        *,
        by_operator: bool,
    ) -> Lease:
        if self._throttle is not None and not by_operator:
            former = self._book.extended_by(request)
            taking = former is not None and former.state is State.OFFERED  # admitted as an offer
            if not taking:
                self._throttle.admit(request.client6, time.monotonic(), holds=former is not None)

        def decide() -> tuple[Lease, bool]:
            before = self._book.last_lease_id
            lease = change(request, time.monotonic())
            return lease, self._book.last_lease_id != before

        return await self._promise(decide)

    async def _settled(self, decide: Callable[[], Lease]) -> Lease:
        (lease, _), _ = await self._decided(lambda: (decide(), False))
        return lease

    async def _decided(
        self, decide: Callable[[], tuple[Lease, bool]]
    ) -> tuple[tuple[Lease, bool], int]:
        """Settle what `decide` decides; again, when another server of the store was faster."""
        for _ in range(DECISIONS):
            decision = decide()
            try:
                return decision, await self._ledger.settle([decision[0]])
            except SupersededError:
                continue
        raise LeaseError("try-again", "other servers lend too fast, try again")

    async def _promise(self, decide: Callable[[], tuple[Lease, bool]]) -> Lease:
        """Return once the lease is durable and forwarded; else take a new one back.

        `decide` returns the lease, and whether it is a new one.
        """
        (lease, take_back), generation = await self._decided(decide)
        missing = await self._feed.wait_acked(generation, self._required, self._ack_timeout_s)
        if missing:
            if take_back and self._book.is_current(lease):
                await self._ledger.settle([self._book.release(lease.ipv4, psid=lease.psid)])
            names = ", ".join(sorted(missing))
            text = f"no acknowledgement in {self._ack_timeout_s:g} s by router {names}, try again"
            raise LeaseError("try-again", text)
        if not self._book.is_current(lease):
            raise LeaseError("try-again", f"{lease.ipv4} was taken back meanwhile")
        return lease
