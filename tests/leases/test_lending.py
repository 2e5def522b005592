"""Book, store and routers together, driven in any order: what must hold whatever happens.

The model is kept by the test alone: what was promised to whom, and what routers really forward. The
clocks are virtual: the machine has a wall clock, which may be set, and boots, which begin the
monotonic clock anew.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dstmrouter.errors import LeaseError
from dstmrouter.leases.bindings import all_bindings, changed_bindings
from dstmrouter.leases.quota import Holdings
from dstmrouter.leases.state import BOUND, State
from dstmrouter.leases.store import LeaseStore
from tests.leases.lending import TEP6, TERMS, client, wish
from tests.leases.routers import Router
from tests.leases.small_book import ADDRESSES, PLACES_MAX, QUOTAS, RESERVED, small_book, small_wish
from tests.leases.told import Told, check_history

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv6Address

    from dstmrouter.leases.lease import Lease, LeaseRequest, Share

Person: TypeAlias = "str | IPv6Address"
"""Who is at the other end: the identity, or for nobody the address."""

pytestmark = pytest.mark.usefixtures("untraced")
CLIENTS = st.integers(1, 4)
PLACES = st.integers(0, PLACES_MAX - 1)
IDENTITIES = st.sampled_from(["", "ann"])
STEPS_S = st.sampled_from([1.0, 40.0, 131.0, 2000.0])
REFUSALS: Final = {
    "no-address", "not-yours", "port-set", "try-again", "quota-identity", "quota-64"
}  # fmt: skip
ROUNDING_S: Final = 1.001  # routers are told whole seconds


class Lending(RuleBasedStateMachine):
    """Clients 1-4, three addresses, two routers, and a book over a real store."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name) / "leases.sqlite"
        self.time = 1e9  # what a perfect clock shows
        self.ahead_s = self.least_ahead_s = 0.0  # by how much the server's wall clock is wrong
        self.boot, self.booted = 1, self.time - 77.0
        self.routers = (Router(), Router())
        self.promised: dict[IPv6Address, tuple[Share, float]] = {}  # until, perfect clock
        self.last_holder: dict[Share, tuple[Person, set[IPv6Address]]] = {}
        self.told: list[Told] = []
        self.clock_was_set = False

    @initialize()
    def start(self) -> None:
        self.store = LeaseStore(
            self.path,
            wall=lambda: self.time + self.ahead_s,
            monotonic=lambda: self.now,
            boot=self.boot,
        )
        self.book = small_book()
        assert self.book.restore(self.store.load()) == []
        for router in self.routers:
            self._give_snapshot(router)

    @property
    def now(self) -> float:
        """The server's monotonic clock."""
        return self.time - self.booted

    def _give_snapshot(self, router: Router) -> None:
        if router.present:
            snapshot = all_bindings(self.book.table, self.now, grace_s=TERMS.grace_s, tep6=[TEP6])
            router.replaced(snapshot, self.time)

    def keep(self, leases: list[Lease]) -> None:
        """What the ledger does: on disk, then told to the routers."""
        self.store.write(leases)
        changes = changed_bindings(leases, self.now, grace_s=TERMS.grace_s, tep6=[TEP6])
        for lease in leases:
            self._check_rest(lease)
        for router in self.routers:
            router.told(changes, self.time)

    def _check_rest(self, lease: Lease) -> None:
        """Somebody else gets the address only after all routers forgot it, and its quarantine."""
        if not lease.bound:
            return
        person = lease.identity or lease.client6
        before, _ = self.last_holder.setdefault(lease.share, (person, set()))
        if before != person:
            self.last_holder[lease.share] = (person, set())
            for router in self.routers:
                rested = router.gone_since(lease.share) + TERMS.quarantine_s
                assert rested <= self.time + ROUNDING_S
        self.last_holder[lease.share][1].add(lease.client6)

    def promise(self, lease: Lease) -> None:
        """The client is told."""
        for who, (share, _) in list(self.promised.items()):
            if share == lease.share:  # it moved, or its time is over
                del self.promised[who]
        self.promised[lease.client6] = (lease.share, lease.until + self.booted)
        self.told.append((self.time, lease.share, lease.client6))

    def wish(self, number: int, hint: int | None, identity: str = "") -> LeaseRequest:
        share = None if hint is None else self.book.table.get(hint).share
        return small_wish(number, share, identity)

    def ask(self, way: Callable[[LeaseRequest, float], Lease], request: LeaseRequest) -> None:
        before = [self.book.table.get(place) for place in range(PLACES_MAX)]
        try:
            lease = way(request, self.now)
        except LeaseError as error:
            assert error.reason in REFUSALS  # noqa: PT017 - nothing else may be refused
            assert [self.book.table.get(place) for place in range(PLACES_MAX)] == before
            wanted = before[ADDRESSES:] if request.want_psid_len else before[:RESERVED]
            free = [row.state is State.FREE for row in wanted]
            assert error.reason != "no-address" or not any(free)  # noqa: PT017
            return
        self.keep([lease])
        self.promise(lease)

    @rule(number=CLIENTS, hint=st.none() | PLACES, identity=IDENTITIES)
    def grant(self, number: int, hint: int | None, identity: str) -> None:
        self.ask(self.book.grant, self.wish(number, hint, identity))

    @rule(number=CLIENTS, hint=st.none() | PLACES, identity=IDENTITIES)
    def offer(self, number: int, hint: int | None, identity: str) -> None:
        self.ask(self.book.offer, self.wish(number, hint, identity))

    @rule(number=CLIENTS, place=PLACES)
    def move(self, number: int, place: int) -> None:
        """The holder of an address asks from another client6."""
        row = self.book.table.get(place)
        self.ask(self.book.grant, self.wish(number, place, row.identity))

    @rule(number=CLIENTS, place=PLACES)
    def renew(self, number: int, place: int) -> None:
        try:
            ipv4 = self.book.space.address(place)
            lease = self.book.renew(ipv4, client(number), self.now, lifetime_s=None)
        except LeaseError:
            return
        self.keep([lease])
        self.promise(lease)

    @rule(number=CLIENTS, place=PLACES)
    def release(self, number: int, place: int) -> None:
        try:
            lease = self.book.release(self.book.space.address(place), client(number))
        except LeaseError:
            return
        self.promised.pop(lease.client6, None)
        self.keep([lease])

    @rule(place=PLACES)
    def hold_or_unhold(self, place: int) -> None:
        row = self.book.table.get(place)
        held = row.state is State.HELD
        if row.bound:
            self.promised.pop(row.client6, None)
        self.keep([(self.book.unhold if held else self.book.hold)(row.ipv4, psid=row.psid)])

    @rule(place=PLACES)
    def routers_acknowledge(self, place: int) -> None:
        row = self.book.table.get(place)
        if all(router.present for router in self.routers):
            lease = self.book.removed(row.ipv4, row.lease_id, self.now, psid=row.psid)
            assert (lease is not None) == (row.state is State.REMOVING)
            self.keep([lease] if lease is not None else [])

    @rule(number=st.integers(0, 1))
    def router_goes_or_returns(self, number: int) -> None:
        router = self.routers[number]
        router.present = not router.present
        self._give_snapshot(router)

    @rule(step_s=STEPS_S)
    def time_passes(self, step_s: float) -> None:
        self.time += step_s

    @rule(number=CLIENTS, place=PLACES, step_s=STEPS_S)
    def next_in_line(self, number: int, place: int, step_s: float) -> None:
        """An operator ends a lease, and somebody waits for the address."""
        row = self.book.table.get(place)
        if row.bound:
            self.promised.pop(row.client6, None)
            self.keep([self.book.release(row.ipv4, psid=row.psid)])
        self.routers_acknowledge(place)
        self.time += step_s
        self.keep(self.book.expire(self.now))
        self.keep(self.book.expire(self.now))
        self.ask(self.book.grant, self.wish(number, place))

    @rule()
    def timer(self) -> None:
        """Wait for the next end of a state, as the server does."""
        due = self.book.next_timer()
        if due is not None:
            self.time = max(self.time, due + self.booted + 1e-4)
        changed = self.book.expire(self.now)
        assert not changed or (due is not None and due <= self.now)
        self.keep(changed)

    @rule(number=CLIENTS, written=st.booleans(), boot=st.booleans(), away_s=st.floats(0, 500))
    def crash(self, number: int, written: bool, boot: bool, away_s: float) -> None:
        """End without a word, between a change in memory and its write, or its telling."""
        changed = self.book.expire(self.now)
        with suppress(LeaseError):
            changed.append(self.book.grant(wish(number), self.now))
        if written:
            self.store.write(changed)
            for lease in changed:
                self._check_rest(lease)
        self.store.close()
        self.time += away_s
        self._restart(boot=boot, ahead_s=self.ahead_s)

    @rule(boot=st.booleans(), by_s=st.sampled_from([-5e5, -60.0, 60.0, 5e5]))
    def wall_clock_is_set(self, boot: bool, by_s: float) -> None:
        """... while the server is down."""
        self.store.close()
        self.clock_was_set = True
        self._restart(boot=boot, ahead_s=self.ahead_s + by_s)

    def _restart(self, *, boot: bool, ahead_s: float) -> None:
        """Begin anew. Over a boot the wall clock is not set forward.

        That would look like a long time in which the machine was off.
        """
        if boot:
            self.boot, self.booted = self.boot + 1, self.time - 5.0
            ahead_s = min(ahead_s, self.least_ahead_s)
        self.ahead_s = ahead_s
        self.least_ahead_s = min(ahead_s, self.least_ahead_s)
        self.start()

    @invariant()
    def promises_are_kept(self) -> None:
        for who, (share, until) in self.promised.items():
            if until > self.time + 1e-3:
                lease = self.book.lease_of(who)
                assert lease is not None
                assert lease.share == share
                assert lease.until + self.booted >= until - 1e-3

    @invariant()
    def routers_forward_an_address_for_its_last_holder(self) -> None:
        for share in (self.book.table.get(place).share for place in range(PLACES_MAX)):
            forwarded = {router.forwards(share, self.time) for router in self.routers} - {None}
            assert not forwarded or forwarded <= self.last_holder[share][1]

    @invariant()
    def one_address_per_client(self) -> None:
        rows = [self.book.table.get(place) for place in range(PLACES_MAX)]
        holders = [row.client6 for row in rows if row.state in BOUND]
        assert len(holders) == len(set(holders))
        assert [self.book.lease_of(who) for who in holders] == [row for row in rows if row.bound]

    @invariant()
    def indexes_are_what_a_recount_finds(self) -> None:
        states = self.book.table.state
        free = [place for place in range(PLACES_MAX) if place in self.book._free]
        lent = [place for place in range(PLACES_MAX) if place != RESERVED]
        assert free == [place for place in lent if states[place] == State.FREE]
        assert self.book._free.count(0) + self.book._free.count(1) == len(free)
        recount = Holdings(QUOTAS)
        recount.load(self.book.table)
        assert self.book._holdings.counted() == recount.counted()
        for place in range(PLACES_MAX):
            row = self.book.table.get(place)
            if row.bound and row.identity:
                known = self.book.table.slot_of_identity(row.identity)
                assert known is None or self.book.table.get(known).identity == row.identity

    def teardown(self) -> None:
        self.store.close()
        if not self.clock_was_set:
            check_history(self.path, self.told)
        self._directory.cleanup()


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
