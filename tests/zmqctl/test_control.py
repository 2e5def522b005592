from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import zmq

from dstmrouter.errors import ConfigError, ControlError, LeaseError
from dstmrouter.zmqctl import AsyncControlClient, ControlServer, RefusedError
from dstmrouter.zmqctl import control as module
from dstmrouter.zmqctl.messages import (
    MESSAGE_MAX,
    Alive,
    Call,
    Failure,
    Heartbeat,
    Push,
    Reply,
    decode,
    encode,
)
from dstmrouter.zmqctl.peer import Peer
from tests.zmqctl.samples import puts, run, until
from tests.zmqctl.sockets import control_in_thread, plain_socket, raw_dealer, running

if TYPE_CHECKING:
    from pathlib import Path


async def echo(params: dict[str, Any]) -> dict[str, Any]:
    return params


async def refuse(_params: dict[str, Any]) -> dict[str, Any]:
    raise LeaseError("no-address", "the pool is empty")


async def complain(_params: dict[str, Any]) -> dict[str, Any]:
    raise ControlError("the router does not answer")


async def crash(params: dict[str, Any]) -> dict[str, Any]:
    return {"x": params["absent"]}


async def flood(_params: dict[str, Any]) -> dict[str, Any]:
    return {"x": b"x" * MESSAGE_MAX}


async def odd(_params: dict[str, Any]) -> dict[str, Any]:
    return {"x": object()}


HANDLERS = {
    "echo": echo,
    "refuse": refuse,
    "complain": complain,
    "crash": crash,
    "flood": flood,
    "odd": odd,
}


@pytest.mark.parametrize(
    ("method", "reason", "text"),
    [
        ("refuse", "no-address", "the pool is empty"),
        ("complain", "refused", "the router does not answer"),
        ("crash", "internal", "crash failed, see the log"),
        ("odd", "internal", "odd failed, see the log"),
        ("flood", "too-large", "ask for less"),
        ("nonsense", "unknown-method", "no method 'nonsense'"),
    ],
)
def test_failures_have_a_reason_and_the_server_lives(
    tmp_path: Path, method: str, reason: str, text: str
) -> None:
    async def scenario() -> None:
        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers=HANDLERS)
        async with running(server), AsyncControlClient(server.endpoint) as client:
            with pytest.raises(RefusedError, match=text) as caught:
                await client.call(method)
            assert caught.value.reason == reason
            assert await client.call("echo", a=[1, "b"]) == {"a": [1, "b"]}
        server.close()

    run(scenario())


def test_a_call_that_waits_holds_up_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def wait(_params: dict[str, Any]) -> dict[str, Any]:
            await gate.wait()
            return {"waited": True}

        handlers = {"wait": wait, "echo": echo}
        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers=handlers)
        async with running(server), AsyncControlClient(server.endpoint) as client:
            waiting = asyncio.create_task(client.call("wait"))
            assert await client.call("echo", a=1) == {"a": 1}
            gate.set()
            assert await waiting == {"waited": True}
        server.close()

    run(scenario())


def test_calls_at_work_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_MAX", 2)

    async def scenario() -> None:
        gate = asyncio.Event()

        async def wait(_params: dict[str, Any]) -> dict[str, Any]:
            await gate.wait()
            return {}

        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers={"wait": wait})
        async with running(server), AsyncControlClient(server.endpoint) as client:
            calls = [asyncio.create_task(client.call("wait")) for _ in range(3)]
            with pytest.raises(RefusedError, match="too many calls") as caught:
                await calls[2]
            assert caught.value.reason == "busy"
            gate.set()
            assert [await call for call in calls[:2]] == [{}, {}]
        server.close()

    run(scenario())


def test_garbage_is_counted_and_answered(tmp_path: Path) -> None:
    numbers = random.Random(1)
    with (
        control_in_thread(f"ipc://{tmp_path}/c", handlers=HANDLERS) as server,
        raw_dealer(server.endpoint) as socket,
    ):
        for size in range(100):
            socket.send(numbers.randbytes(size) + b"\xc1")
            answer = decode(socket.recv())
            assert isinstance(answer, Failure)
            assert (answer.id, answer.reason) == (0, "malformed")
        socket.send_multipart([b"three", b"frames", b"here"])
        assert b"expected one frame" in socket.recv()
        socket.send(encode(Call(id=7, method="echo", params={})))
        assert decode(socket.recv()) == Reply(id=7, result={})
        assert server.counters["malformed"] == 101


def test_messages_nobody_takes_here_are_answered(tmp_path: Path) -> None:
    push = Push(id=9, source="s", replace=False, part=0, parts=1, bindings=puts(0, 1))
    beat = Heartbeat(epoch=bytes(16), generation=0, interval_ms=1000)
    with (
        control_in_thread(f"ipc://{tmp_path}/c") as server,
        raw_dealer(server.endpoint) as socket,
    ):
        for message, expected in ((push, 9), (beat, 0)):
            socket.send(encode(message))
            answer = decode(socket.recv())
            assert isinstance(answer, Failure)
            assert (answer.id, answer.reason) == (expected, "unexpected")


def test_peer_that_sends_too_much_is_cut_off_and_others_are_served(tmp_path: Path) -> None:
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=HANDLERS) as server:
        with raw_dealer(server.endpoint) as giant, raw_dealer(server.endpoint) as other:
            giant.send(b"x" * (MESSAGE_MAX + 1))
            other.send(encode(Call(id=1, method="echo", params={})))
            assert decode(other.recv()) == Reply(id=1, result={})
        assert server.counters["received"] == 1


def test_peer_that_does_not_read_costs_a_bounded_queue(tmp_path: Path) -> None:
    async def scenario() -> None:
        peers: list[Peer] = []

        async def note(peer: Peer, _alive: Alive) -> None:
            peers.append(peer)

        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers=HANDLERS)
        server.listen(Alive, note)
        big = Reply(id=1, result={"x": b"x" * 1_000_000})
        alive = Alive(router="r1", epoch=b"", generation=0, rows=0, refused=0)
        async with running(server), AsyncControlClient(server.endpoint) as client:
            with raw_dealer(server.endpoint) as deaf:
                deaf.setsockopt(zmq.RCVHWM, 1)
                deaf.send(encode(alive))
                await until(lambda: peers)
                sent = [await server.send(peers[0], big) for _ in range(2000)]
                assert sent.count(False) > 0
                assert await client.call("echo", a=1) == {"a": 1}
            await until(lambda: server.counters["unsent-peer-slow"])
        server.close()

    run(scenario())


def test_answer_to_a_peer_that_left_is_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers={})
        assert not await server.send(Peer((b"nobody",)), Reply(id=1, result={}))
        assert server.counters["unsent-peer-gone"] == 1
        server.close()

    run(scenario())


def test_req_sockets_are_served_too(tmp_path: Path) -> None:
    with (
        control_in_thread(f"ipc://{tmp_path}/c", handlers=HANDLERS) as server,
        plain_socket(zmq.REQ) as socket,
    ):
        socket.connect(server.endpoint)
        call = {"v": 1, "type": "call", "id": 3, "method": "echo", "params": {"a": 1}}
        socket.send(msgpack.packb(call))
        answer = {"v": 1, "type": "reply", "id": 3, "result": {"a": 1}}
        assert msgpack.unpackb(socket.recv()) == answer


def test_close_ends_run_and_removes_the_socket_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers={})
        serving = asyncio.create_task(server.run())
        await asyncio.sleep(0)
        server.close()
        server.close()
        await serving
        await until(lambda: not (tmp_path / "c").exists())

    run(scenario())


def test_plain_tcp_is_refused() -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError, match="needs CURVE"):
            ControlServer("tcp://127.0.0.1:*", curve=None, handlers={})

    run(scenario())
