"""Where the requests of TSP clients become leases: an `Office` for all, a `Desk` for each dialogue.

    create  an offer, which the routers have before the client is told
    accept  the offer becomes a lease
    reject  and the end of the dialogue before either: the offer is taken back
    delete  the lease ends

A client gets leases for the address it talks from, and for no other.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.binding import text6
from dstmrouter.daemon.tsp_tally import TspTally
from dstmrouter.errors import LeaseError
from dstmrouter.leases.lease import LeaseRequest
from dstmrouter.leases.state import State
from dstmrouter.leases.times import client_lifetime_s
from dstmrouter.protocols.tsp_status import Status, TspError
from dstmrouter.protocols.tsp_xml import Action, End, Keepalive, Prefix, Tunnel

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from dstmrouter.daemon.lending import Lender
    from dstmrouter.daemon.tally import Tally
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.lease import Lease
    from dstmrouter.protocols.tsp_session import Session

log = structlog.get_logger(__name__)

PLACEHOLDERS: Final = frozenset({IPv6Address("::"), IPv6Address("::1")})
"""What a client that does not know its address sends; it means the one it talks from."""

MINUTE_S: Final = 60

REASONS: Final = {
    "no-address": Status.NO_TUNNEL,
    "no-lease": Status.NO_TUNNEL,
    "held": Status.NO_TUNNEL,
    "no-pool": Status.NO_TUNNEL,
    "port-set": Status.NO_TUNNEL,
    "no-port-set": Status.NO_TUNNEL,
    "reserved": Status.NO_TUNNEL,
    "quota-identity": Status.NO_TUNNEL,
    "quota-64": Status.NO_TUNNEL,
    "quota-48": Status.NO_TUNNEL,
    "try-again": Status.BUSY,
    "rate-limit": Status.BUSY,
    "not-yours": Status.IN_USE,
    "bad-client6": Status.BAD_IPV6,
    "bad-identity": Status.AUTHENTICATION_FAILED,
}
"""What a client is told for each reason of a refusal."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What all dialogues share."""

    lender: Lender
    book: LeaseBook
    tep4: IPv4Address
    tep6: IPv6Address
    keepalive_s: tuple[int, int] = (5, 300)  # shortest and longest interval
    release_on_close: bool = False
    brokers: tuple[str, ...] = ()  # for clients that get no address here
    counts: Counter[Tally] = dataclasses.field(default_factory=Counter)
    latest: dict[IPv6Address, Desk] = dataclasses.field(default_factory=dict)


class Desk:
    """The requests of the client at `client6`, one at a time."""

    def __init__(self, office: Office, client6: IPv6Address) -> None:
        self._office = office
        self._client6 = client6
        self._offer: Lease | None = None  # not accepted yet
        self._wish: LeaseRequest | None = None
        self._lease: Lease | None = None  # accepted in this dialogue

    async def carry_out(self, session: Session, tunnel: Tunnel) -> None:
        """Answer one request of `session`."""
        try:
            await self._WORK[tunnel.action](self, session, tunnel)
        except LeaseError as error:
            self._refuse(session, REASONS.get(error.reason, Status.SERVER_ERROR), str(error))
        except TspError as error:
            self._refuse(session, error.status, str(error))

    async def leave(self) -> None:
        """The dialogue is over: take back what was not accepted.

        A client that came back meanwhile has the same lease in its new dialogue, which decides.
        """
        if self._office.latest.get(self._client6) is not self:
            return
        del self._office.latest[self._client6]
        await self._take_back(TspTally.ROLLED_BACK)
        lease, self._lease = self._lease, None
        if lease is not None and self._office.release_on_close:
            await self._end(lease, TspTally.RELEASES)

    async def _create(self, session: Session, tunnel: Tunnel) -> None:
        client = tunnel.client or End()
        self._check_address(client.ipv6)
        if client.prefix is not None and client.prefix.length != 32:
            raise TspError(Status.BAD_PREFIX_LEN, f"a prefix of {client.prefix.length} bits")
        wish = LeaseRequest(
            client6=self._client6,
            identity=session.identity or "",
            hint=client.ipv4,
            lifetime_s=_wanted_s(tunnel),
        )
        lease = await self._office.lender.offer(wish)
        self._office.latest[self._client6] = self
        self._wish = LeaseRequest(
            client6=wish.client6,
            identity=wish.identity,
            hint=lease.ipv4,
            lifetime_s=wish.lifetime_s,
        )
        self._offer = lease
        lifetime_s = int(self._office.book.terms.lifetime_s(wish.lifetime_s))
        answer = self._described(lease, lifetime_s, tunnel.lease_s is not None, client)
        session.offer(answer, time.monotonic())
        self._office.counts[TspTally.OFFERS] += 1

    async def _accept(self, session: Session, _tunnel: Tunnel) -> None:
        offer, wish = self._offer, self._wish
        assert offer is not None, "the session lets accept pass only after an offer"
        assert wish is not None
        try:
            lease = await self._office.lender.grant(wish)
        except LeaseError as error:
            session.lose(str(error))
            if offer.state is State.OFFERED:  # a lease that was to be extended goes on as it was
                await self._end(offer, TspTally.ROLLED_BACK)
            return
        finally:
            self._offer = None
        if lease.ipv4 != offer.ipv4:  # the offer ran out and went to somebody else
            await self._end(lease, TspTally.ROLLED_BACK)
            session.lose(f"{offer.ipv4} is lent to another client")
            return
        self._lease = lease
        self._office.counts[TspTally.GRANTS] += 1
        log.info("lent", ipv4=str(lease.ipv4), client6=text6(lease.client6), user=lease.identity)
        session.settle(until=lease.until)

    async def _reject(self, session: Session, _tunnel: Tunnel) -> None:
        await self._take_back(TspTally.REJECTS)
        session.settle(until=self._patience(session))

    async def _delete(self, session: Session, tunnel: Tunnel) -> None:
        self._check_address(tunnel.client.ipv6 if tunnel.client is not None else None)
        lease = self._held(session)
        self._offer = self._lease = None
        if lease is not None:
            await self._end(lease, TspTally.RELEASES)
        session.answer(None, until=self._patience(session))

    async def _info(self, session: Session, tunnel: Tunnel) -> None:
        lease = self._held(session)
        if lease is None or lease.state is not State.ACTIVE:
            raise TspError(Status.NO_TUNNEL, "no lease")
        lifetime_s = client_lifetime_s(lease.until, time.monotonic())
        answer = self._described(lease, lifetime_s, tunnel.lease_s is not None, End())
        session.answer(answer, until=self._patience(session))

    _WORK: Final = {
        Action.CREATE: _create,
        Action.ACCEPT: _accept,
        Action.REJECT: _reject,
        Action.DELETE: _delete,
        Action.INFO: _info,
    }

    def _check_address(self, told: IPv6Address | None) -> None:
        if told is not None and told != self._client6 and told not in PLACEHOLDERS:
            raise TspError(Status.BAD_IPV6, f"{told} asked for by {self._client6}")

    def _held(self, session: Session) -> Lease | None:
        """What the client has, if it is this user's."""
        lease = self._office.book.lease_of(self._client6)
        if lease is not None and lease.identity != (session.identity or ""):
            raise TspError(Status.IN_USE, f"the lease of {self._client6} is another user's")
        return lease

    def _refuse(self, session: Session, status: Status, why: str) -> None:
        self._office.counts[TspTally.REFUSALS] += 1
        log.info("refused", client6=str(self._client6), user=session.identity, reason=why)
        brokers = self._office.brokers if status is Status.NO_TUNNEL else ()
        session.refuse(status, until=self._patience(session), brokers=brokers)

    def _patience(self, session: Session) -> float:
        """Until when the client may be silent: with a lease, as long as that lasts."""
        lease = self._lease
        if lease is not None and self._office.book.is_current(lease):
            return lease.until
        return session.grace(time.monotonic())

    async def _take_back(self, count: TspTally) -> None:
        """End an offer; one that extends a lease leaves the lease as it was."""
        offer, self._offer = self._offer, None
        current = self._office.book.lease_of(self._client6)
        if offer is None or current is None or current.lease_id != offer.lease_id:
            return
        if current.state is State.OFFERED:
            await self._end(offer, count)

    async def _end(self, lease: Lease, count: TspTally) -> None:
        if self._office.book.is_current(lease):
            await self._office.lender.release(lease.ipv4, lease.client6)
            log.info("ended", ipv4=str(lease.ipv4), client6=text6(lease.client6), by=count.value)
            self._office.counts[count] += 1

    def _described(self, lease: Lease, lifetime_s: int, in_seconds: bool, asked: End) -> Tunnel:
        """The answer of RFC 5572 section 4.7; minutes never round up past the lease.

        So the last minute of a lease is told as 0; what is offered lasts longer than that.
        """
        return Tunnel(
            action=Action.INFO,
            lifetime_min=lifetime_s // MINUTE_S,
            lease_s=lifetime_s if in_seconds else None,
            server=End(ipv4=self._office.tep4, ipv6=self._office.tep6),
            client=End(
                ipv4=lease.ipv4,
                ipv6=lease.client6,
                keepalive=self._keepalive(asked.keepalive),
                prefix=Prefix(length=32, address=lease.ipv4) if asked.prefix is not None else None,
            ),
        )

    def _keepalive(self, asked: Keepalive | None) -> Keepalive | None:
        """The interval is the server's to say, RFC 5572 section 4.6; 0 is none at all."""
        if asked is None:
            return None
        shortest_s, longest_s = self._office.keepalive_s
        interval_s = min(max(asked.interval_s, shortest_s), longest_s) if asked.interval_s else 0
        return Keepalive(interval_s=interval_s, address=self._office.tep4)


def _wanted_s(tunnel: Tunnel) -> int | None:
    """Who counts in minutes cannot be told of less than one."""
    if tunnel.lease_s is not None:
        return tunnel.lease_s
    return max(tunnel.lifetime_min, 1) * MINUTE_S if tunnel.lifetime_min is not None else None
