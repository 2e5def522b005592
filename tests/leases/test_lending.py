"""Book and store together, driven in any order: what must hold whatever happens.

The model is kept by the test alone: what was promised to whom, and when routers knew of it last.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dstmrouter.errors import LeaseError
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore
from tests.leases.lending import FIRST, TERMS, book_of, client, wish

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.leases.lease import Lease

ADDRESSES = 2
CLIENTS = st.integers(1, 3)
PLACES = st.integers(0, ADDRESSES - 1)


class Lending(RuleBasedStateMachine):
    """Clients 1-3 and the addresses 0 and 1 of a book over a real store."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.wall = 1e9
        self.boot = 1e9 - 77.0  # wall clock time at which the monotonic clock was 0
        self.promised: dict[IPv6Address, tuple[IPv4Address, float]] = {}  # until, wall clock
        self.routed_until: dict[IPv4Address, float] = {}  # routers may have it, wall clock
        self.last_holder: dict[IPv4Address, IPv6Address] = {}
        self.rest_until: dict[IPv4Address, float] = {}  # for everybody but the last holder

    @initialize()
    def start(self) -> None:
        path = Path(self._directory.name) / "leases.sqlite"
        self.store = LeaseStore(path, wall=lambda: self.wall, monotonic=lambda: self.now)
        self.book = book_of(ADDRESSES)
        self.keep(self.book.restore(self.store.load()))

    @property
    def now(self) -> float:
        return self.wall - self.boot

    def keep(self, leases: list[Lease]) -> None:
        self.store.write(leases)

    def promise(self, lease: Lease) -> None:
        """The client is told: check that the address may be its own, and remember."""
        holder = self.last_holder.get(lease.ipv4)
        if holder != lease.client6:
            assert self.rest_until.get(lease.ipv4, 0.0) <= self.wall + 1e-3
        until = lease.until + self.boot
        self.promised[lease.client6] = (lease.ipv4, until)
        self.last_holder[lease.ipv4] = lease.client6
        routed = max(self.routed_until.get(lease.ipv4, 0.0), until + TERMS.grace_s)
        self.routed_until[lease.ipv4] = routed
        self.rest_until[lease.ipv4] = routed + TERMS.quarantine_s

    @rule(number=CLIENTS, hint=st.none() | PLACES)
    def grant(self, number: int, hint: int | None) -> None:
        try:
            lease = self.book.grant(wish(number, hint), self.now)
        except LeaseError as error:
            assert error.reason == "no-address"  # noqa: PT017 - nothing else may be refused
            return
        self.keep([lease])
        self.promise(lease)

    @rule(number=CLIENTS)
    def offer(self, number: int) -> None:
        try:
            lease = self.book.offer(wish(number), self.now)
        except LeaseError as error:
            assert error.reason == "no-address"  # noqa: PT017 - nothing else may be refused
            return
        self.keep([lease])
        self.promise(lease)

    @rule(number=CLIENTS, place=PLACES)
    def renew(self, number: int, place: int) -> None:
        try:
            lease = self.book.renew(FIRST + place, client(number), self.now, lifetime_s=None)
        except LeaseError:
            return
        self.keep([lease])
        self.promise(lease)

    @rule(number=CLIENTS, place=PLACES)
    def release(self, number: int, place: int) -> None:
        try:
            lease = self.book.release(FIRST + place, client(number))
        except LeaseError:
            return
        self.keep([lease])
        del self.promised[lease.client6]

    @rule(place=PLACES)
    def routers_acknowledge(self, place: int) -> None:
        row = self.book.table.get(place)
        lease = self.book.removed(row.ipv4, row.lease_id, self.now)
        assert (lease is not None) == (row.state is State.REMOVING)
        if lease is not None:
            self.keep([lease])
            self.routed_until[lease.ipv4] = self.wall
            self.rest_until[lease.ipv4] = self.wall + TERMS.quarantine_s

    @rule(step_s=st.sampled_from([1.0, 40.0, 131.0, 2000.0]))
    def time_passes(self, step_s: float) -> None:
        self.wall += step_s

    @rule()
    def timer(self) -> None:
        """Wait for the next end of a state, as the server does."""
        due = self.book.next_timer()
        if due is not None:
            self.wall = max(self.wall, due + self.boot + 1e-4)
        changed = self.book.expire(self.now)
        assert not changed or (due is not None and due <= self.now)
        self.keep(changed)

    @rule(unsaved=st.booleans(), reboot_s=st.floats(0, 500))
    def crash(self, unsaved: bool, reboot_s: float) -> None:
        """End without a word; `unsaved`: between changes in memory and their write."""
        if unsaved:
            self.book.expire(self.now)
        self.store.close()
        self.boot += reboot_s
        self.start()

    @invariant()
    def promises_are_kept(self) -> None:
        for who, (ipv4, until) in self.promised.items():
            if until > self.wall + 1e-3:
                lease = self.book.lease_of(who)
                assert lease is not None
                assert lease.ipv4 == ipv4
                assert lease.until + self.boot >= until - 1e-3

    @invariant()
    def one_address_per_client(self) -> None:
        rows = [self.book.table.get(place) for place in range(ADDRESSES)]
        routed = {State.OFFERED, State.ACTIVE, State.REMOVING}
        holders = [row.client6 for row in rows if row.state in routed]
        assert len(holders) == len(set(holders))

    @invariant()
    def free_addresses_are_those_in_the_chain(self) -> None:
        states = self.book.table.state
        free = [place for place in range(ADDRESSES) if place in self.book._free]
        assert free == [place for place in range(ADDRESSES) if states[place] == State.FREE]

    def teardown(self) -> None:
        self.store.close()
        self._directory.cleanup()


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
