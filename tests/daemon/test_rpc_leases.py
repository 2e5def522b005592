"""What the procedures mean, docs/rpc.md; asked through the dispatcher, without sockets."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.rpc_leases import NO_LEASE, RETRY_AFTER_S, STALE, STATS, identity_of
from dstmrouter.errors import LeaseError
from dstmrouter.leases.lease import IDENTITY_LIMIT
from dstmrouter.leases.state import State
from dstmrouter.protocols import dstm_rpc
from dstmrouter.protocols.dstm_rpc import (
    AllocateArgs,
    CookieNeeded,
    Lease,
    LeaseState,
    Procedure,
    ReferenceArgs,
    Refused,
    RetryLater,
    Stat,
)
from tests.daemon.rpc_setting import HANDLES, TUNNEL, Program, in_program, reference, tcp, udp
from tests.leases.lending import FIRST, TEP6, book_of, client, wish

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def test_a_lease_from_allocate_to_release() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1, client_id=b"\0ann", want_lifetime=500)
        assert (lease.client6, lease.client4) == (client(1), FIRST)
        assert (lease.tep6, lease.tep4, lease.mtu) == (TUNNEL.tep6, TUNNEL.tep4, 1460)
        assert (lease.prefix4_len, lease.ports.psid_len) == (32, 0)
        assert lease.lifetime in {499, 500}
        assert (lease.t1, lease.t2) == (lease.lifetime // 2, lease.lifetime * 7 // 8)
        assert lease.state is LeaseState.ACTIVE
        about = reference(lease, client_id=b"\0ann", want_lifetime=900)
        renewed = await program.lease(Procedure.RENEW, about, tcp(1))
        assert isinstance(renewed, Lease)
        assert (renewed.lease_id, renewed.client4) == (lease.lease_id, lease.client4)
        assert renewed.lifetime in {899, 900}
        shown = await program.lease(Procedure.QUERY, about, tcp(1))
        assert isinstance(shown, Lease)
        assert shown.state is LeaseState.ACTIVE
        assert await program.release(about, tcp(1)) is Stat.OK
        assert program.setting.book.lease_of(client(1)) is None
        ended = await program.lease(Procedure.QUERY, about, tcp(1))
        assert isinstance(ended, Lease)
        assert (ended.state, ended.lifetime, ended.t1) == (LeaseState.EXPIRED, 0, 0)
        assert await program.lease(Procedure.RENEW, about, tcp(1)) == NO_LEASE

    in_program(scenario)


def test_allocate_twice_is_one_lease() -> None:
    async def scenario(program: Program) -> None:
        first = await program.granted(1)
        again = await program.granted(1)
        assert (again.lease_id, again.client4) == (first.lease_id, first.client4)
        assert len(program.setting.book.table.in_states(frozenset({State.ACTIVE}))) == 1

    in_program(scenario)


def test_a_hint_is_followed_and_no_hint_is_none() -> None:
    async def scenario(program: Program) -> None:
        assert (await program.granted(1, hint4=FIRST + 7)).client4 == FIRST + 7
        assert (await program.granted(2)).client4 == FIRST
        assert (await program.granted(3, hint4=IPv4Address("203.0.113.1"))).client4 == FIRST + 1

    in_program(scenario)


@pytest.mark.parametrize("gone", ["never", "released", "another number"])
def test_releasing_what_is_not_there_is_no_error(gone: str) -> None:
    async def scenario(program: Program) -> None:
        about = ReferenceArgs(lease_id=7, client6=client(1))
        if gone == "released":
            about = reference(await program.granted(1))
            await program.release(about, tcp(1))
        elif gone == "another number":
            about = reference(await program.granted(1), lease_id=1)
        assert await program.release(about, tcp(1)) is Stat.OK
        bound = program.setting.book.lease_of(client(1)) is not None
        assert bound == (gone == "another number")

    in_program(scenario)


def test_only_the_source_of_a_call_is_its_client6() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1)
        theft = await program.lease(Procedure.ALLOCATE, AllocateArgs(client6=client(1)), tcp(2))
        assert isinstance(theft, Refused)
        assert theft.stat is Stat.EPERM
        for procedure in (Procedure.RENEW, Procedure.QUERY):
            refused = await program.lease(procedure, reference(lease), tcp(2))
            assert isinstance(refused, Refused)
            assert refused.stat is Stat.EPERM
        assert await program.release(reference(lease), tcp(2)) is Stat.EPERM
        assert program.setting.book.lease_of(client(1)) is not None

    in_program(scenario)


def test_a_lease_is_known_by_the_number_that_its_holder_was_told() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1)
        held = program.setting.book.lease_of(client(1))
        assert held is not None
        guess = reference(lease, lease_id=held.lease_id)
        assert await program.lease(Procedure.RENEW, guess, udp(1)) == STALE
        assert await program.lease(Procedure.QUERY, guess, udp(1)) == STALE
        assert isinstance(await program.lease(Procedure.RENEW, reference(lease), udp(1)), Lease)

    in_program(scenario)


def test_another_client_id_is_another_client() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1, client_id=b"ann")
        args = AllocateArgs(client6=client(1), client_id=b"bob")
        refused = await program.lease(Procedure.ALLOCATE, args, tcp(1))
        assert isinstance(refused, Refused)
        assert refused.stat is Stat.EINUSE
        about = reference(lease, client_id=b"bob")
        refused = await program.lease(Procedure.RENEW, about, tcp(1))
        assert isinstance(refused, Refused)
        assert refused.stat is Stat.EPERM
        assert await program.release(about, tcp(1)) is Stat.EPERM

    in_program(scenario)


@pytest.mark.parametrize(
    ("wishes", "stat"),
    [
        ({"client6": TEP6}, Stat.EBADADDR6),
        ({"client6": client(1), "want_psid_len": 6}, Stat.EUNSUPP),  # there are none
    ],
)
def test_refusals_of_allocate(wishes: dict[str, Any], stat: Stat) -> None:
    async def scenario(program: Program) -> None:
        args = AllocateArgs(**wishes)
        caller = tcp(int(args.client6) - int(client(0)))
        refused = await program.lease(Procedure.ALLOCATE, args, caller)
        assert isinstance(refused, Refused)
        assert refused.stat is stat

    in_program(scenario)


def test_when_no_address_is_free() -> None:
    async def scenario(program: Program) -> None:
        for number in range(100):
            program.setting.book.grant(wish(number), 0.0)
        refused = await program.lease(
            Procedure.ALLOCATE, AllocateArgs(client6=client(100)), tcp(100)
        )
        assert refused == Refused(stat=Stat.ENOADDR, text="no address is free")

    in_program(scenario)


def test_without_the_required_router_the_client_is_told_to_come_again() -> None:
    async def scenario(program: Program) -> None:
        args = AllocateArgs(client6=client(1))
        answer = await program.lease(Procedure.ALLOCATE, args, tcp(1))
        assert answer == RetryLater(stat=Stat.EBUSY, retry_after=RETRY_AFTER_S)
        assert program.setting.book.lease_of(client(1)) is None

    in_program(scenario, "gw1")


def test_over_udp_nothing_happens_before_a_cookie_came_back() -> None:
    async def scenario(program: Program) -> None:
        args = AllocateArgs(client6=client(1))
        needed = await program.lease(Procedure.ALLOCATE, args, udp(1))
        assert isinstance(needed, CookieNeeded)
        assert program.setting.book.lease_of(client(1)) is None
        assert len(program.replies) == 0
        with_cookie = AllocateArgs(client6=client(1), cookie=needed.cookie)
        other_port = await program.lease(Procedure.ALLOCATE, with_cookie, udp(1, 5001))
        assert isinstance(other_port, CookieNeeded)
        program.clock.ahead = 61  # two windows later
        late = await program.lease(Procedure.ALLOCATE, with_cookie, udp(1))
        assert isinstance(late, CookieNeeded)
        program.clock.ahead = 0
        lease = await program.lease(Procedure.ALLOCATE, with_cookie, udp(1))
        assert isinstance(lease, Lease)

    in_program(scenario)


def test_what_a_spoofed_source_gets_is_no_longer_than_what_was_sent() -> None:
    async def scenario(program: Program) -> None:
        await program.granted(1)
        for procedure, args in (
            (Procedure.ALLOCATE, AllocateArgs(client6=client(1))),
            (Procedure.ALLOCATE, AllocateArgs(client6=client(2))),
            (Procedure.RENEW, ReferenceArgs(lease_id=1, client6=client(1))),
            (Procedure.QUERY, ReferenceArgs(lease_id=1, client6=client(1))),
            (Procedure.QUERY, ReferenceArgs(lease_id=1, client6=client(2))),
            (Procedure.RELEASE, ReferenceArgs(lease_id=1, client6=client(1))),
        ):
            call = program.call(procedure, args.encode())
            response = program.dispatcher.take(call, udp(1))
            assert isinstance(response, bytes)
            assert len(response) <= len(call)

    in_program(scenario)


def test_an_offer_of_another_protocol_cannot_be_renewed() -> None:
    async def scenario(program: Program) -> None:
        offered = program.setting.book.offer(wish(1), program.clock())
        about = ReferenceArgs(lease_id=HANDLES.of(offered), client6=client(1))
        refused = await program.lease(Procedure.RENEW, about, tcp(1))
        assert isinstance(refused, Refused)
        assert refused.stat is Stat.ENOLEASE
        shown = await program.lease(Procedure.QUERY, about, tcp(1))
        assert isinstance(shown, Lease)
        assert shown.state is LeaseState.OFFERED

    in_program(scenario)


def test_a_held_address_is_no_lease_any_more() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1)
        program.setting.book.hold(lease.client4)
        assert await program.lease(Procedure.QUERY, reference(lease), tcp(1)) == NO_LEASE

    in_program(scenario)


def test_client_ids_are_different_identities_and_no_names() -> None:
    ids = [b"", b"\0", b"\0\0", b"ann", b"\xff" * 128]
    identities = [identity_of(client_id) for client_id in ids]
    assert identities[0] == ""
    assert all(identity.startswith("rpc:") for identity in identities[1:])
    assert len(set(identities)) == len(ids)
    assert all(len(identity) <= IDENTITY_LIMIT for identity in identities)


BOOK = book_of(1)
BOOK.grant(wish(1, identity="ann"), 0.0)


@pytest.mark.parametrize(
    "refuse",
    [
        partial(BOOK.grant, wish(2), 0.0),
        partial(BOOK.grant, wish(1, identity="bob"), 0.0),
        partial(BOOK.grant, wish(int(TEP6) - int(client(0))), 0.0),
        partial(BOOK.renew, FIRST + 9, client(1), 0.0, lifetime_s=None),
    ],
)
def test_every_reason_of_the_book_has_its_stat(refuse: Callable[[], object]) -> None:
    with pytest.raises(LeaseError) as refused:
        refuse()
    assert STATS[refused.value.reason] in dstm_rpc.TEXT_STATS
