from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.rpc_client import RpcError, datagrams_to, stream_to
from dstmrouter.daemon.rpcbind_client import Rpcbind, local_rpcbind
from dstmrouter.protocols import rpcbind
from dstmrouter.protocols.oncrpc import Accepted, AcceptStat, Call, decode_call
from dstmrouter.protocols.rpcbind import Binding, Procedure
from lab.netns import PATIENCE_S
from tests.daemon.rpc_hosts import SERVER6, hosts
from tests.daemon.rpcbind_process import needs_rpcbind, rpcbind_in
from tests.leases.lending import client

if TYPE_CHECKING:
    from dstmrouter.protocols.oncrpc import Reply

PROGRAM = 0x20000001
BINDING = Binding(program=PROGRAM, version=1, netid="tcp6", address="::.14.70")


class Scripted:
    """A transport that notes calls and answers each with the same results."""

    def __init__(self, results: str) -> None:
        self._results = bytes.fromhex(results)
        self.calls: list[Call] = []

    async def exchange(self, call: bytes, xid: int) -> Reply:
        self.calls.append(decode_call(call))
        return Accepted(xid=xid, stat=AcceptStat.SUCCESS, results=self._results)


def test_calls_are_those_of_rfc_1833() -> None:
    transport = Scripted("00000001")
    assert asyncio.run(Rpcbind(transport).set(BINDING)) is True
    assert asyncio.run(Rpcbind(transport).unset(BINDING)) is True
    assert asyncio.run(Rpcbind(Scripted("00000000")).set(BINDING)) is False
    for call, procedure in zip(transport.calls, (Procedure.SET, Procedure.UNSET), strict=True):
        assert (call.program, call.version) == (rpcbind.PROGRAM, rpcbind.VERSION)
        assert (call.procedure, call.arguments) == (procedure, BINDING.encode())


def test_a_program_that_is_not_registered_has_no_port() -> None:
    assert asyncio.run(Rpcbind(Scripted("00000000")).port(PROGRAM, 1)) is None
    with_port = Scripted("00000008" + b"::.14.70".hex())
    assert asyncio.run(Rpcbind(with_port).port(PROGRAM, 1)) == 3654


@pytest.mark.netns
@needs_rpcbind
@pytest.mark.parametrize("way", ["unix", "loopback"])
def test_a_real_rpcbind(way: str) -> None:
    async def scenario(path: Path) -> None:
        async with local_rpcbind(path) as local:
            assert await local.unset(BINDING)
            assert await local.set(BINDING)
            assert await local.set(BINDING)  # there already
            other = Binding(program=PROGRAM, version=1, netid="tcp6", address="::.14.71")
            assert not await local.set(other)
        async with stream_to(str(SERVER6), rpcbind.PORT, client(1)) as transport:
            assert await Rpcbind(transport).port(PROGRAM, 1) == 3654
            with pytest.raises(RpcError, match="AUTH_ERROR, TOOWEAK"):  # from another host
                await Rpcbind(transport).unset(BINDING)
        async with datagrams_to(str(SERVER6), rpcbind.PORT, client(1)) as datagrams:
            assert await Rpcbind(datagrams).port(PROGRAM, 1) is None
        async with local_rpcbind(path) as local:
            assert await local.unset(BINDING)

    with hosts() as space, rpcbind_in(space) as process, space.entered():
        path = process.socket if way == "unix" else Path("/nonexistent")
        asyncio.run(asyncio.wait_for(scenario(path), PATIENCE_S))
        assert process.knows(PROGRAM, 1) == []
