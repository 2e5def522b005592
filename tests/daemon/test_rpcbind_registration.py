from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dstmrouter.daemon import rpcbind_registration
from dstmrouter.daemon.rpcbind_registration import REGISTERED, Registration, RpcbindError
from dstmrouter.protocols.rpcbind import Binding
from lab.netns import PATIENCE_S
from tests.daemon.rpc_hosts import hosts
from tests.daemon.rpcbind_process import RpcbindProcess, needs_rpcbind, rpcbind_in
from tests.daemon.server_process import until
from tests.daemon.test_rpc_client import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

PROGRAM = 0x20000001
BINDINGS = [
    Binding(program=PROGRAM, version=1, netid=netid, address="::.14.70")
    for netid in ("tcp6", "udp6")
]


@contextlib.asynccontextmanager
async def running(registration: Registration) -> AsyncIterator[None]:
    task = asyncio.create_task(registration.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def with_rpcbind(scenario: Callable[[RpcbindProcess], Coroutine[Any, Any, None]]) -> None:
    with hosts() as space, rpcbind_in(space) as process, space.entered():
        asyncio.run(asyncio.wait_for(scenario(process), PATIENCE_S))


@pytest.mark.netns
@needs_rpcbind
def test_registered_while_it_runs() -> None:
    async def scenario(process: RpcbindProcess) -> None:
        registration = Registration(BINDINGS, required=True, path=process.socket)
        async with running(registration):
            await until(lambda: registration.state == REGISTERED, "the registration")
            assert process.knows(PROGRAM, 1) == ["tcp6", "udp6"]
            assert "superuser" in process.listed().splitlines()[-1]
        assert process.knows(PROGRAM, 1) == []

    with_rpcbind(scenario)


@pytest.mark.netns
@needs_rpcbind
def test_what_a_killed_predecessor_left_is_replaced() -> None:
    async def scenario(process: RpcbindProcess) -> None:
        old = [Binding(program=PROGRAM, version=1, netid="tcp6", address="::.1.1")]
        killed = Registration(old, required=True, path=process.socket)
        assert await killed._register(afresh=True)
        registration = Registration(BINDINGS, required=True, path=process.socket)
        async with running(registration):
            await until(lambda: registration.state == REGISTERED, "the registration")

    with_rpcbind(scenario)


@pytest.mark.netns
@needs_rpcbind
def test_registered_again_after_rpcbind_was_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpcbind_registration, "AGAIN_S", 0.05)

    async def scenario(process: RpcbindProcess) -> None:
        registration = Registration(BINDINGS, required=True, path=Path("/nonexistent"))  # over ::1
        async with running(registration):
            await until(lambda: registration.state == REGISTERED, "the registration")
            process.stop()
            await until(lambda: registration.state != REGISTERED, "rpcbind to be missed")
            assert registration.state == "it cannot be asked: Connection refused"
            process.start()
            await until(lambda: process.knows(PROGRAM, 1) == ["tcp6", "udp6"], "both again")

    with_rpcbind(scenario)


@pytest.mark.netns
@needs_rpcbind
def test_an_entry_of_a_mightier_user_is_not_ours() -> None:
    async def scenario(process: RpcbindProcess) -> None:
        root = Registration(BINDINGS[:1], required=True, path=process.socket)
        assert await root._register(afresh=True)
        other = [Binding(program=PROGRAM, version=1, netid="tcp6", address="::.1.1")]
        nobody = Registration(other, required=True, path=Path("/nonexistent"))
        with pytest.raises(RpcbindError, match="rpcbind is required, but it refuses tcp6"):
            await nobody.run()
        assert process.knows(PROGRAM, 1) == ["tcp6"]

    with_rpcbind(scenario)


@pytest.mark.netns
@pytest.mark.parametrize("required", [False, True])
def test_without_rpcbind(required: bool) -> None:
    async def scenario() -> None:
        registration = Registration(BINDINGS, required=required, path=Path("/nonexistent"))
        if required:
            with pytest.raises(RpcbindError, match="cannot be asked: Connection refused"):
                await registration.run()
        else:
            async with running(registration):
                await until(lambda: "refused" in registration.state, "no rpcbind")

    with hosts() as space, space.entered(), capture_logs() as logs:
        asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_one_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpcbind_registration, "ANSWER_S", 0.05)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> None:
        path = tmp_path / "rpcbind.sock"
        async with listening(silent, path):
            registration = Registration(BINDINGS, required=True, path=path)
            with pytest.raises(RpcbindError, match=r"does not answer in 0\.05 s"):
                await registration.run()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
