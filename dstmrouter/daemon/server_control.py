"""What operators can ask of the lease server: its control methods, docs/zmq-protocol.md.

Parameters come from a stranger and are read by `daemon.params`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.daemon.params import (
    Params,
    address4,
    address6,
    bad_request,
    flag,
    number,
    port_set_row,
    text,
)
from dstmrouter.leases.lease import LeaseRequest
from dstmrouter.leases.state import TIMED, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dstmrouter.daemon.lending import Lender
    from dstmrouter.daemon.server_alarms import AlarmWatch
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.leases.lease import Lease, Share
    from dstmrouter.zmqctl.control import Handler

PAGE_LIMIT: Final = 1000  # leases in one answer
PSID_MAX: Final = 0xFFFF
LIFETIME_LIMIT_S: Final = 0xFFFFFFFE  # what a binding can carry


class LeaseControl:
    """The control methods over `book`; promises are made by `lender`."""

    def __init__(
        self,
        book: LeaseBook,
        lender: Lender,
        alarms: AlarmWatch,
        *,
        describe: Callable[[], Params],
    ) -> None:
        self._book = book
        self._lender = lender
        self._alarms = alarms
        self._describe = describe

    def handlers(self) -> Mapping[str, Handler]:
        """All methods by name."""
        return {
            "status": self.status,
            "leases": self.leases,
            "lease.grant": self.grant,
            "lease.renew": self.renew,
            "lease.release": self.release,
            "lease.hold": self.hold,
            "lease.unhold": self.unhold,
        }

    async def status(self, _params: Params) -> Params:
        """Pools with the number of addresses in each state, and what the server says of itself."""
        space = self._book.space
        pools = []
        alarms = self._alarms.describe()
        for pool, slots, alarm in zip(space.pools, space.bounds, alarms, strict=True):
            states = self._book.table.state[slots.start : slots.stop]
            counts = np.bincount(states, minlength=len(State)).tolist()
            by_state = {state.name.lower(): counts[state] for state in State}
            if pool.sharing.psid_len:
                by_state["port_sets"] = len(pool)
            pools.append({"name": pool.name, "addresses": pool.addresses, **by_state, **alarm})
        return {**self._describe(), "pools": pools}

    async def leases(self, params: Params) -> Params:
        """One page of the addresses that are not free, or of those in `state`, by address."""
        slots = self._book.table.in_states(_states(params))
        offset = number(params, "offset", 0, 1 << 32) or 0
        limit = number(params, "limit", 0, 1 << 32)
        end = offset + min(PAGE_LIMIT if limit is None else limit, PAGE_LIMIT)
        page = [self._row(self._book.table.get(slot)) for slot in slots[offset:end].tolist()]
        return {"total": len(slots), "leases": page}

    async def grant(self, params: Params) -> Params:
        """Lend an address to `client6`; the same client gets the same lease again."""
        request = LeaseRequest(
            client6=address6(params),
            identity=text(params, "identity"),
            hint=address4(params),
            lifetime_s=number(params, "lifetime_s", 1, LIFETIME_LIMIT_S),
            takes_port_set=flag(params, "port_set"),
            hint_psid=number(params, "psid", 0, PSID_MAX),
        )
        return self._row(await self._lender.grant(request, by_operator=True))

    async def renew(self, params: Params) -> Params:
        """Extend the lease of `client6`."""
        client6 = address6(params)
        lifetime_s = number(params, "lifetime_s", 1, LIFETIME_LIMIT_S)
        ipv4, _ = self._named(params)
        lease = await self._lender.renew(ipv4, client6, lifetime_s=lifetime_s, by_operator=True)
        return self._row(lease)

    async def release(self, params: Params) -> Params:
        """End a lease now; without `client6` it is the operator who ends it."""
        client6 = address6(params) if "client6" in params else None
        ipv4, psid = self._named(params)
        return self._row(await self._lender.release(ipv4, client6, psid=psid))

    async def hold(self, params: Params) -> Params:
        """Take `ipv4` away from everybody."""
        ipv4, psid = self._named(params)
        return self._row(await self._lender.hold(ipv4, psid=psid))

    async def unhold(self, params: Params) -> Params:
        """Let a held `ipv4` become free again."""
        ipv4, psid = self._named(params)
        return self._row(await self._lender.unhold(ipv4, psid=psid))

    def _named(self, params: Params) -> Share:
        """What `ipv4` and `psid`, or `lease_id`, name."""
        ipv4 = address4(params)
        if ipv4 is not None:
            return ipv4, number(params, "psid", 0, PSID_MAX) or 0
        lease_id = number(params, "lease_id", 1, 1 << 62)
        if lease_id is None:
            raise bad_request("expected ipv4 or lease_id")
        return self._book.find(lease_id).share

    def _row(self, lease: Lease) -> Params:
        timed = lease.state in TIMED
        expires_in_s = round(lease.until - time.monotonic(), 1) if timed else None
        return {
            "lease_id": lease.lease_id,
            "ipv4": str(lease.ipv4),
            "client6": str(lease.client6),
            "identity": lease.identity,
            "state": lease.state.name.lower(),
            "expires_in_s": expires_in_s,  # the end of this state
            **port_set_row(lease.port_set),
        }


def _states(params: Params) -> frozenset[State]:
    wanted = params.get("state")
    if wanted is None:
        return frozenset(State) - {State.FREE}
    for state in State:
        if wanted == state.name.lower():
            return frozenset({state})
    names = ", ".join(state.name.lower() for state in State)
    raise bad_request(f"state {wanted!r:.40}: expected one of {names}")
