"""Leases of port sets over RPC, asked through the dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.sharing import Sharing
from dstmrouter.protocols.dstm_rpc import (
    WHOLE_ADDRESS,
    AllocateArgs,
    Lease,
    LeaseState,
    Procedure,
    Refused,
    Stat,
)
from dstmrouter.protocols.granted import PortSet
from tests.daemon.rpc_setting import Program, in_program, reference, tcp, udp
from tests.leases.lending import FIRST, TEP6, TERMS, client, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

WHOLE = FIRST + 16


def in_shared_program(scenario: Callable[[Program], Coroutine[Any, Any, None]]) -> None:
    """Run it with an address for four, 192.0.2.0, and whole ones from 192.0.2.16 on."""
    shared = Pool.of("shared", [(FIRST, FIRST)], sharing=Sharing(6, 2))
    space = AddressSpace([shared, pool(str(WHOLE), str(WHOLE + 1))])
    in_program(scenario, book=LeaseBook(space, TERMS, tep6=[TEP6]))


def ports(psid: int) -> PortSet:
    return PortSet(psid_offset=6, psid_len=2, psid=psid)


@pytest.mark.parametrize("caller", [tcp(2), udp(2)], ids=["tcp", "udp"])
def test_a_port_set_from_allocate_to_release(caller: Any) -> None:
    async def scenario(program: Program) -> None:
        await program.granted(1, want_psid_len=2)
        lease = await program.granted(2, want_psid_len=9, client_id=b"ann")
        assert (lease.client4, lease.ports) == (FIRST, ports(1))
        again = await program.granted(2, want_psid_len=2, client_id=b"ann")
        assert (again.lease_id, again.ports) == (lease.lease_id, lease.ports)
        about = reference(lease, client_id=b"ann", want_lifetime=900)
        renewed = await program.lease(Procedure.RENEW, about, caller)
        assert isinstance(renewed, Lease)
        assert (renewed.lease_id, renewed.ports) == (lease.lease_id, lease.ports)
        assert renewed.lifetime in {899, 900}
        shown = await program.lease(Procedure.QUERY, about, caller)
        assert isinstance(shown, Lease)
        assert (shown.ports, shown.state) == (ports(1), LeaseState.ACTIVE)
        assert await program.release(about, caller) is Stat.OK
        ended = await program.lease(Procedure.QUERY, about, caller)
        assert isinstance(ended, Lease)
        assert (ended.ports, ended.state) == (ports(1), LeaseState.EXPIRED)
        assert program.setting.book.lease_of(client(1)) is not None

    in_shared_program(scenario)


def test_without_the_wish_it_is_a_whole_address() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1, hint4=FIRST)
        assert (lease.client4, lease.ports) == (WHOLE, WHOLE_ADDRESS)

    in_shared_program(scenario)


def test_a_port_set_is_not_exchanged_for_a_whole_address_while_it_lasts() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1, want_psid_len=2)
        args = AllocateArgs(client6=client(1))
        refused = await program.lease(Procedure.ALLOCATE, args, tcp(1))
        assert isinstance(refused, Refused)
        assert refused.stat is Stat.EINUSE
        kept = await program.lease(Procedure.QUERY, reference(lease), tcp(1))
        assert isinstance(kept, Lease)
        assert kept.ports == lease.ports

    in_shared_program(scenario)


def test_when_no_port_set_is_free() -> None:
    async def scenario(program: Program) -> None:
        for number in range(4):
            await program.granted(number, want_psid_len=2)
        args = AllocateArgs(client6=client(4), want_psid_len=2)
        refused = await program.lease(Procedure.ALLOCATE, args, tcp(4))
        assert refused == Refused(stat=Stat.ENOADDR, text="no address is free")

    in_shared_program(scenario)


def test_a_port_set_moves_with_its_client() -> None:
    async def scenario(program: Program) -> None:
        await program.granted(1, want_psid_len=2, client_id=b"bob")
        home = await program.granted(2, want_psid_len=2, client_id=b"ann")
        away = await program.granted(3, want_psid_len=2, client_id=b"ann", hint4=home.client4)
        assert (away.client4, away.ports) == (home.client4, home.ports)
        gone = await program.lease(Procedure.QUERY, reference(home, client_id=b"ann"), tcp(2))
        assert isinstance(gone, Refused)
        assert gone.stat is Stat.ENOLEASE

    in_shared_program(scenario)
