"""The desk with a real book, store and feed, and a session that was let in."""

from __future__ import annotations

import dataclasses
import time
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.tsp_desk import Desk, Office
from dstmrouter.daemon.tsp_tally import TspTally
from dstmrouter.leases.state import State
from dstmrouter.protocols.tsp_session import Session, SessionTerms
from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_xml import Action, End, Keepalive, Prefix, Tunnel, decode, encode
from tests.daemon.test_lending import lender_of
from tests.daemon.test_server_ledger import Setting, settling
from tests.leases.lending import FIRST, TEP6, client, wish
from tests.protocols.tsp_samples import framed, sent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

TEP4 = IPv4Address("192.0.2.254")
CREATE = Tunnel(action=Action.CREATE, client=End(ipv6=client(1)))
ACCEPT = Tunnel(action=Action.ACCEPT, type=None)
REJECT = Tunnel(action=Action.REJECT, type=None)
DELETE = Tunnel(action=Action.DELETE, client=End(ipv6=client(1)))
INFO = Tunnel(action=Action.INFO)


class Visit:
    """One dialogue of a user with the desk."""

    def __init__(self, office: Office, number: int = 1, user: str = "ann") -> None:
        self.desk = Desk(office, client(number))
        self.session = Session(SessionTerms(), {}, now=time.monotonic(), identity=user)

    async def ask(self, *tunnels: Tunnel) -> tuple[int, Tunnel | None]:
        """Ask one after the other; status and body of the last answer, 0 for none."""
        for tunnel in tunnels:
            self.session.chunks()
            self.session.receive_data(framed(encode(tunnel)))
            request = self.session.next_event(time.monotonic())
            assert request is not None
            await self.desk.carry_out(self.session, request)
        answer = sent(self.session).partition(b"\r\n")[2]
        status, _, body = answer.partition(b"\r\n")
        return int(status[:4] or b"0"), decode(body) if body else None


def office_of(setting: Setting, *required: str, **changes: Any) -> Office:
    made = Office(
        lender=lender_of(setting, *required),
        book=setting.book,
        tep4=TEP4,
        tep6=TEP6,
    )
    return dataclasses.replace(made, **changes)


def at_desk(scenario: Callable[[Setting], Coroutine[Any, Any, None]]) -> None:
    settling(scenario)


def state(setting: Setting, number: int = 0) -> State:
    return setting.book.table.get(number).state


def test_an_offer_is_forwarded_before_it_is_told() -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting)
        visit = Visit(office)
        status, info = await visit.ask(CREATE)
        assert (status, state(setting)) == (200, State.OFFERED)
        assert setting.feed.published[-1][0] == [int(FIRST)]
        assert info == Tunnel(
            action=Action.INFO,
            lifetime_min=1,  # 100 s
            server=End(ipv4=TEP4, ipv6=TEP6),
            client=End(ipv4=FIRST, ipv6=client(1)),
        )
        assert await visit.ask(ACCEPT) == (0, None)
        assert state(setting) is State.ACTIVE
        assert visit.session.deadline == setting.book.table.get(0).until
        await visit.desk.leave()
        assert state(setting) is State.ACTIVE
        assert (office.counts[TspTally.OFFERS], office.counts[TspTally.GRANTS]) == (1, 1)

    at_desk(scenario)


@pytest.mark.parametrize("rejected", [True, False])
def test_what_is_not_accepted_is_taken_back(rejected: bool) -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting)
        visit = Visit(office)
        await visit.ask(CREATE, *([REJECT] if rejected else []))
        await visit.desk.leave()
        assert state(setting) is State.REMOVING
        count = TspTally.REJECTS if rejected else TspTally.ROLLED_BACK
        assert office.counts[count] == 1

    at_desk(scenario)


def test_a_renewal_that_is_not_accepted_leaves_the_lease() -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting)
        first = Visit(office)
        await first.ask(CREATE, ACCEPT)
        await first.desk.leave()
        until = setting.book.table.get(0).until
        second = Visit(office)
        longer = dataclasses.replace(CREATE, lease_s=500)
        status, info = await second.ask(longer)
        assert info is not None
        assert (status, info.lease_s, info.lifetime_min) == (200, 500, 8)
        await second.desk.leave()
        assert (state(setting), setting.book.table.get(0).until) == (State.ACTIVE, until)
        third = Visit(office)
        await third.ask(longer, ACCEPT)
        assert setting.book.table.get(0).until > until + 300

    at_desk(scenario)


def test_a_client_that_came_back_is_not_robbed_by_its_old_dialogue() -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting, release_on_close=True)
        old, new = Visit(office), Visit(office)
        await old.ask(CREATE, ACCEPT)
        await new.ask(CREATE, ACCEPT)
        await old.desk.leave()
        assert state(setting) is State.ACTIVE
        await new.desk.leave()
        assert state(setting) is State.REMOVING
        assert office.latest == {}

    at_desk(scenario)


def test_another_user_who_tries_changes_nothing_for_the_holder() -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting)
        holder, other = Visit(office), Visit(office, user="eve")
        await holder.ask(CREATE)
        assert (await other.ask(CREATE))[0] == 506
        await other.desk.leave()
        assert state(setting) is State.OFFERED
        await holder.desk.leave()
        assert state(setting) is State.REMOVING

    at_desk(scenario)


def test_release_and_query() -> None:
    async def scenario(setting: Setting) -> None:
        visit = Visit(office_of(setting))
        assert (await visit.ask(INFO))[0] == 301
        status, info = await visit.ask(CREATE, ACCEPT, dataclasses.replace(INFO, lease_s=1))
        assert info is not None
        assert info.lease_s is not None
        assert (status, 90 < info.lease_s <= 100) == (200, True)
        assert await visit.ask(DELETE) == (200, None)
        assert state(setting) is State.REMOVING
        assert await visit.ask(DELETE) == (200, None)

    at_desk(scenario)


@pytest.mark.parametrize("told", ["::", "::1", None])
def test_a_client_need_not_know_its_address(told: str | None) -> None:
    async def scenario(setting: Setting) -> None:
        ipv6 = IPv6Address(told) if told is not None else None
        asked = dataclasses.replace(CREATE, client=End(ipv6=ipv6))
        status, info = await Visit(office_of(setting)).ask(asked)
        assert info is not None
        assert info.client is not None
        assert (status, info.client.ipv6) == (200, client(1))

    at_desk(scenario)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (End(ipv6=client(2)), 502),
        (End(ipv6=client(1), prefix=Prefix(length=24)), 507),
    ],
)
def test_refusals_that_change_nothing(asked: End, status: int) -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting)
        visit = Visit(office)
        wanted = dataclasses.replace(CREATE, client=asked)
        assert (await visit.ask(wanted))[0] == status
        assert setting.book.table.in_states(frozenset(State) - {State.FREE}).size == 0
        assert office.counts[TspTally.REFUSALS] == 1
        assert (await visit.ask(CREATE))[0] == 200

    at_desk(scenario)


def test_keepalive_prefix_and_hint_are_answered() -> None:
    async def scenario(setting: Setting) -> None:
        asked = End(
            ipv4=FIRST + 7,
            ipv6=client(1),
            keepalive=Keepalive(interval_s=1),
            prefix=Prefix(length=32),
        )
        office = office_of(setting, keepalive_s=(5, 60))
        _, info = await Visit(office).ask(dataclasses.replace(CREATE, client=asked))
        assert info is not None
        assert info.client == End(
            ipv4=FIRST + 7,
            ipv6=client(1),
            keepalive=Keepalive(interval_s=5, address=TEP4),
            prefix=Prefix(length=32, address=FIRST + 7),
        )

    at_desk(scenario)


@pytest.mark.parametrize(("asked_s", "told_s"), [(0, 0), (1, 5), (30, 30), (100, 60)])
def test_the_server_says_how_often(asked_s: int, told_s: int) -> None:
    async def scenario(setting: Setting) -> None:
        desk = Desk(office_of(setting, keepalive_s=(5, 60)), client(1))
        assert desk._keepalive(Keepalive(interval_s=asked_s)) == Keepalive(
            interval_s=told_s, address=TEP4
        )

    at_desk(scenario)


def test_a_router_that_does_not_answer_makes_the_server_busy() -> None:
    async def scenario(setting: Setting) -> None:
        assert (await Visit(office_of(setting, "gw1")).ask(CREATE))[0] == 530
        assert state(setting) is State.REMOVING

    at_desk(scenario)


def test_another_user_s_lease_and_a_full_pool() -> None:
    async def scenario(setting: Setting) -> None:
        office = office_of(setting, brokers=("2001:db8::9",))
        await Visit(office).ask(CREATE, ACCEPT)
        for action in (CREATE, DELETE, INFO):
            assert (await Visit(office, user="eve").ask(action))[0] == 506
        for number in range(1, 100):
            setting.book.grant(wish(number + 100), 0.0)
        other = dataclasses.replace(CREATE, client=None)
        status, brokers = await Visit(office, number=2).ask(other)
        assert brokers is not None
        assert (status, brokers.brokers) == (1301, ("2001:db8::9",))

    at_desk(scenario)


def test_an_offer_that_went_to_somebody_else_is_lost() -> None:
    async def scenario(setting: Setting) -> None:
        visit = Visit(office_of(setting))
        await visit.ask(CREATE)
        setting.book.hold(FIRST)
        status, _ = await visit.ask(ACCEPT)
        assert (status, visit.session.ending) == (310, Ending.OFFER_LOST)
        assert state(setting, 1) is State.REMOVING

    at_desk(scenario)


@pytest.mark.parametrize("renewed", [False, True])
def test_an_accept_that_no_router_confirms_gives_nothing_new(renewed: bool) -> None:
    async def scenario(setting: Setting) -> None:
        visit = Visit(office_of(setting))
        await visit.ask(CREATE, *([ACCEPT, CREATE] if renewed else []))
        visit.desk._office = office_of(setting, "gw1")
        visit.desk._office.latest[client(1)] = visit.desk
        assert (await visit.ask(ACCEPT))[0] == 310
        await visit.desk.leave()
        assert state(setting) is (State.ACTIVE if renewed else State.REMOVING)

    at_desk(scenario)
