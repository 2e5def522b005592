from __future__ import annotations

import asyncio
import contextlib

import pytest
import zmq

from dstmrouter.errors import ControlError
from dstmrouter.zmqctl import AsyncControlClient, ControlServer
from tests.zmqctl.samples import run, until
from tests.zmqctl.sockets import Keys, raw_dealer, running


async def hello(_params: dict[str, object]) -> dict[str, object]:
    return {"hello": True}


def test_allowed_key_is_let_in() -> None:
    async def scenario() -> None:
        keys = Keys("r1")
        server = ControlServer(
            "tcp://127.0.0.1:*", curve=keys.of_server(), handlers={"hello": hello}
        )
        async with (
            running(server),
            AsyncControlClient(server.endpoint, curve=keys.of("r1")) as client,
        ):
            assert await client.call("hello") == {"hello": True}
        server.close()

    run(scenario())


def test_unknown_key_is_kept_out_and_counted() -> None:
    async def scenario() -> None:
        keys = Keys("r1")
        server = ControlServer(
            "tcp://127.0.0.1:*", curve=keys.of_server(), handlers={"hello": hello}
        )
        gate = server._gate
        assert gate is not None
        async with (
            running(server),
            AsyncControlClient(server.endpoint, curve=keys.of_stranger()) as client,
        ):
            call = asyncio.create_task(client.call("hello", timeout_s=0.5))
            await until(lambda: gate.denied)
            with pytest.raises(ControlError, match="no answer"):
                await call
        assert server.counters["received"] == 0
        server.close()

    run(scenario())


def test_peer_without_any_key_is_kept_out() -> None:
    async def scenario() -> None:
        keys = Keys("r1")
        server = ControlServer("tcp://127.0.0.1:*", curve=keys.of_server(), handlers={})
        async with running(server):
            with raw_dealer(server.endpoint) as plain:
                plain.setsockopt(zmq.SNDTIMEO, 200)
                with contextlib.suppress(zmq.Again):  # the refusal may be faster
                    plain.send(b"\x80")
                async with AsyncControlClient(server.endpoint, curve=keys.of("r1")) as client:
                    with pytest.raises(ControlError, match="no method"):
                        await client.call("x")
        assert server.counters["received"] == 1
        server.close()

    run(scenario())


def test_nobody_is_let_in_after_the_gate_closed() -> None:
    async def scenario() -> None:
        keys = Keys("r1")
        server = ControlServer(
            "tcp://127.0.0.1:*", curve=keys.of_server(), handlers={"hello": hello}
        )
        assert server._gate is not None
        server._gate.close()
        async with (
            running(server),
            AsyncControlClient(server.endpoint, curve=keys.of("r1")) as client,
        ):
            with pytest.raises(ControlError, match="no answer"):
                await client.call("hello", timeout_s=0.5)
        server.close()

    run(scenario())
