"""The procedures of the DSTM program: what they check at once, and what they ask of the lender.

A procedure answers at once, without having changed anything, or it returns the work that is to be
done. Whatever a caller must prove is checked in the first part (docs/rpc.md, "Trust"): that
client6 is its own address, and over UDP that it receives what is sent there.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dstmrouter.errors import LeaseError
from dstmrouter.leases.lease import Lease, LeaseRequest
from dstmrouter.leases.state import State
from dstmrouter.leases.times import client_lifetime_s
from dstmrouter.protocols import dstm_rpc, term
from dstmrouter.protocols.dstm_rpc import (
    NO_HINT,
    AllocateArgs,
    CookieNeeded,
    LeaseResult,
    LeaseState,
    ReferenceArgs,
    Refused,
    RetryLater,
    Stat,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.daemon.lease_handles import LeaseHandles
    from dstmrouter.daemon.lending import Lender
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.protocols.cookies import Cookies

RETRY_AFTER_S: Final = 5

STATS: Final = {
    "no-address": Stat.ENOADDR,
    "not-yours": Stat.EINUSE,
    "bad-client6": Stat.EBADADDR6,
    "no-lease": Stat.ENOLEASE,
    "try-again": Stat.EBUSY,
    "rate-limit": Stat.EBUSY,
    "port-set": Stat.EINUSE,
    "no-port-set": Stat.EUNSUPP,
    "quota-identity": Stat.EQUOTA,
    "quota-64": Stat.EQUOTA,
    "quota-48": Stat.EQUOTA,
}
"""Stat by reason of a LeaseError; EPERM for any other."""

STATES: Final = {
    State.OFFERED: LeaseState.OFFERED,
    State.ACTIVE: LeaseState.ACTIVE,
    State.REMOVING: LeaseState.EXPIRED,
    State.QUARANTINE: LeaseState.QUARANTINE,
}
"""State on the wire; a lease in any other state does not exist for clients."""

NO_LEASE: Final = Refused(stat=Stat.ENOLEASE, text="no such lease")
STALE: Final = Refused(stat=Stat.ESTALE, text="not the number of your lease")


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; `proven`: its address is its own, as a TCP handshake has shown."""

    address: IPv6Address
    port: int
    proven: bool


Answer: TypeAlias = LeaseResult | Stat
"""What RELEASE returns is a Stat."""

Outcome: TypeAlias = "Answer | Callable[[], Coroutine[Any, Any, Answer]]"
"""An answer, or the work that gives one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """What a client must know beside its address."""

    tep6: IPv6Address
    tep4: IPv4Address
    mtu: int


class LeaseProcedures:
    """ALLOCATE, RENEW, RELEASE and QUERY; `clock` gives monotonic seconds, as the lender's."""

    def __init__(
        self,
        book: LeaseBook,
        lender: Lender,
        *,
        tunnel: Tunnel,
        handles: LeaseHandles,
        cookies: Cookies,
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._lender = lender
        self._tunnel = tunnel
        self._handles = handles
        self._cookies = cookies
        self._clock = clock

    def allocate(self, args: AllocateArgs, caller: Caller) -> Outcome:
        """Lend an address, or extend what the client holds."""
        refusal = self._not_itself(args.client6, caller) or self._without_cookie(args, caller)
        if refusal is not None:
            return refusal
        request = LeaseRequest(
            client6=args.client6,
            identity=identity_of(args.client_id),
            hint=None if args.hint4 == NO_HINT else args.hint4,
            lifetime_s=args.want_lifetime or None,
            takes_port_set=args.want_psid_len > 0,
            want_psid_len=args.want_psid_len,
        )
        return partial(self._lend, partial(self._lender.grant, request))

    def renew(self, args: ReferenceArgs, caller: Caller) -> Outcome:
        """Extend the lease."""
        found = self._referred(args, caller)
        if not isinstance(found, Lease):
            return found
        if not found.bound:
            return NO_LEASE
        renew = partial(self._lender.renew, found.ipv4, found.client6)
        return partial(self._lend, partial(renew, lifetime_s=args.want_lifetime or None))

    def release(self, args: ReferenceArgs, caller: Caller) -> Outcome:
        """End the lease; one that is not there any more is released."""
        found = self._referred(args, caller)
        if not isinstance(found, Lease):
            return Stat.OK if found in (NO_LEASE, STALE) else found.stat
        return partial(self._end, found) if found.bound else Stat.OK

    def query(self, args: ReferenceArgs, caller: Caller) -> Outcome:
        """Tell what the lease is doing."""
        found = self._referred(args, caller)
        return self._shown(found) if isinstance(found, Lease) else found

    def _not_itself(self, client6: IPv6Address, caller: Caller) -> Refused | None:
        if client6 == caller.address:
            return None
        return Refused(stat=Stat.EPERM, text="client6 is not the source of the call")

    def _without_cookie(self, args: AllocateArgs, caller: Caller) -> CookieNeeded | None:
        now = self._clock()
        peer = (caller.address, caller.port)
        if caller.proven or self._cookies.is_valid(args.cookie, *peer, now):
            return None
        return CookieNeeded(cookie=self._cookies.issue(*peer, now))

    def _referred(self, args: ReferenceArgs, caller: Caller) -> Lease | Refused:
        """The lease that `args` are about, which its holder has shown to know."""
        if (refusal := self._not_itself(args.client6, caller)) is not None:
            return refusal
        slot = self._book.table.slot_of(args.client6)
        lease = None if slot is None else self._book.table.get(slot)
        if lease is None or lease.state not in STATES:
            return NO_LEASE
        if not self._handles.fits(args.lease_id, lease):
            return STALE
        if lease.identity != identity_of(args.client_id):
            return Refused(stat=Stat.EPERM, text="the lease has another client_id")
        return lease

    async def _lend(self, promise: Callable[[], Awaitable[Lease]]) -> Answer:
        try:
            return self._shown(await promise())
        except LeaseError as error:
            stat = STATS.get(error.reason, Stat.EPERM)
            if stat is Stat.EBUSY:
                return RetryLater(stat=stat, retry_after=RETRY_AFTER_S)
            return Refused(stat=stat, text=str(error))

    async def _end(self, lease: Lease) -> Answer:
        with contextlib.suppress(LeaseError):  # ended between the check and now
            await self._lender.release(lease.ipv4, lease.client6)
        return Stat.OK

    def _shown(self, lease: Lease) -> dstm_rpc.Lease:
        """`lease` on the wire, with whole seconds that never end after it does."""
        lifetime = client_lifetime_s(lease.until, self._clock()) if lease.bound else 0
        return dstm_rpc.Lease(
            lease_id=self._handles.of(lease),
            client6=lease.client6,
            tep6=self._tunnel.tep6,
            tep4=self._tunnel.tep4,
            client4=lease.ipv4,
            ports=lease.port_set or dstm_rpc.WHOLE_ADDRESS,
            lifetime=lifetime,
            t1=int(term.T1 * lifetime),
            t2=int(term.T2 * lifetime),
            mtu=self._tunnel.mtu,
            state=STATES[lease.state],
        )


def identity_of(client_id: bytes) -> str:
    """A client_id as identity in the book: it proves nothing, so it must look like no user's name.

    Base64, because hexadecimal digits of 128 octets would not fit; empty stays nobody.
    """
    if not client_id:
        return ""
    return f"rpc:{base64.urlsafe_b64encode(client_id).decode().rstrip('=')}"
