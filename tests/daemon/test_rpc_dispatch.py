from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dstmrouter.daemon.rpc_tally import RpcTally
from dstmrouter.leases.state import State
from dstmrouter.protocols.dstm_rpc import AllocateArgs, Procedure, RetryLater, Stat, decode_result
from dstmrouter.protocols.oncrpc import Accepted, AcceptStat, AuthRejected, RpcMismatch
from dstmrouter.protocols.rpc_auth import AuthStat
from tests.daemon.rpc_setting import Program, in_program, reference, tcp, udp
from tests.leases.lending import client

if TYPE_CHECKING:
    from typing import Any

    from dstmrouter.daemon.tally import Tally


def only(program: Program) -> list[tuple[Tally, int]]:
    return list(program.counts.items())


@pytest.mark.parametrize(
    ("procedure", "arguments", "changes", "stat"),
    [
        (Procedure.NULL, b"", {"program": 100_000}, AcceptStat.PROG_UNAVAIL),
        (5, b"", {}, AcceptStat.PROC_UNAVAIL),
        (Procedure.NULL, b"args", {}, AcceptStat.GARBAGE_ARGS),
        (Procedure.ALLOCATE, b"", {}, AcceptStat.GARBAGE_ARGS),
        (Procedure.QUERY, bytes(36), {}, AcceptStat.GARBAGE_ARGS),
    ],
)
def test_failures_that_rfc_5531_names(
    procedure: int, arguments: bytes, changes: dict[str, int], stat: AcceptStat
) -> None:
    async def scenario(program: Program) -> None:
        reply = await program.send(program.call(procedure, arguments, **changes), tcp(1))
        assert reply == Accepted(xid=1, stat=stat)
        assert only(program) == [(RpcTally[stat.name], 1)]

    in_program(scenario)


@pytest.mark.parametrize("version", [0, 2, 7])
def test_other_versions_are_told_ours(version: int) -> None:
    async def scenario(program: Program) -> None:
        reply = await program.send(program.call(Procedure.NULL, version=version), udp(1))
        assert reply == Accepted(xid=1, stat=AcceptStat.PROG_MISMATCH, versions=(1, 1))

    in_program(scenario)


def test_ping() -> None:
    async def scenario(program: Program) -> None:
        reply = await program.send(program.call(Procedure.NULL), udp(1))
        assert reply == Accepted(xid=1, stat=AcceptStat.SUCCESS)
        assert only(program) == [(RpcTally.NULL, 1)]

    in_program(scenario)


def test_what_is_denied_and_what_is_no_call() -> None:
    async def scenario(program: Program) -> None:
        call = program.call(Procedure.NULL)
        version3 = call[:8] + (3).to_bytes(4, "big") + call[12:]
        assert await program.send(version3, udp(1)) == RpcMismatch(xid=1)
        tls = call[:24] + (7).to_bytes(4, "big") + call[28:]
        denied = AuthRejected(xid=1, stat=AuthStat.REJECTEDCRED)
        assert await program.send(tls, tcp(1)) == denied
        assert await program.send(call[:10], tcp(1)) is None
        assert only(program) == [(RpcTally.DENIED, 2), (RpcTally.NO_CALL, 1)]

    in_program(scenario)


def test_a_copy_of_a_call_gets_the_reply_to_the_first() -> None:
    async def scenario(program: Program) -> None:
        call = program.call(Procedure.ALLOCATE, AllocateArgs(client6=client(1)).encode())
        first = program.dispatcher.take(call, tcp(1))
        second = program.dispatcher.take(call, tcp(1))
        assert isinstance(first, asyncio.Task)
        assert second is first  # at work
        reply = await first
        assert program.dispatcher.take(call, tcp(1)) == reply
        assert program.dispatcher.take(call, udp(1)) == reply
        assert program.counts == {RpcTally.GRANTED: 1, RpcTally.DUPLICATE: 3}

    in_program(scenario)


def test_a_late_copy_of_a_release_ends_no_new_lease() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1)
        release = program.call(Procedure.RELEASE, reference(lease).encode())
        await program.send(release, tcp(1))
        again = await program.granted(1)
        assert again.lease_id != lease.lease_id
        await program.send(release, tcp(1))
        assert program.setting.book.lease_of(client(1)) is not None

    in_program(scenario)


def test_over_udp_a_copy_of_a_call_at_work_is_dropped() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1)
        call = program.call(Procedure.RENEW, reference(lease).encode())
        first = program.dispatcher.take(call, udp(1))
        assert isinstance(first, asyncio.Task)
        assert program.dispatcher.take(call, udp(1)) is None
        assert program.counts[RpcTally.DUPLICATE_DROPPED] == 1
        await first

    in_program(scenario)


def test_calls_over_the_limit_are_told_to_come_again() -> None:
    async def scenario(program: Program) -> None:
        lease = await program.granted(1)
        renew = program.dispatcher.take(
            program.call(Procedure.RENEW, reference(lease).encode()), tcp(1)
        )
        assert isinstance(renew, asyncio.Task)
        args = AllocateArgs(client6=client(2))
        busy = await program.ask(Procedure.ALLOCATE, args, tcp(2))
        assert isinstance(decode_result(busy), RetryLater)
        assert await program.release(reference(lease), tcp(1)) is Stat.EBUSY
        await renew
        assert await program.release(reference(lease), tcp(1)) is Stat.OK
        assert program.counts[RpcTally.BUSY] == 2
        assert program.setting.book.lease_of(client(2)) is None

    in_program(scenario, at_work=1)


def test_a_caller_who_goes_away_stops_nothing() -> None:
    async def scenario(program: Program) -> None:
        call = program.call(Procedure.ALLOCATE, AllocateArgs(client6=client(1)).encode())
        response = program.dispatcher.take(call, tcp(1))
        assert isinstance(response, asyncio.Task)

        async def session() -> None:
            await asyncio.shield(response)

        waiting = asyncio.create_task(session())
        await asyncio.sleep(0)
        waiting.cancel()
        await response
        lease = program.setting.book.lease_of(client(1))
        assert lease is not None
        assert lease.state is State.ACTIVE

    in_program(scenario)


def test_a_mistake_of_ours_is_a_system_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(program: Program) -> None:
        async def broken(*_: Any) -> int:
            raise ZeroDivisionError

        monkeypatch.setattr(program.setting.ledger, "settle", broken)
        call = program.call(Procedure.ALLOCATE, AllocateArgs(client6=client(1)).encode())
        with capture_logs() as logs:
            reply = await program.send(call, tcp(1))
        assert reply == Accepted(xid=1, stat=AcceptStat.SYSTEM_ERR)
        assert [entry["event"] for entry in logs] == ["RPC call failed"]
        assert program.counts == {RpcTally.SYSTEM_ERR: 1}

    in_program(scenario)
