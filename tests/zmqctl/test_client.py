from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from dstmrouter.errors import ConfigError, ControlError
from dstmrouter.zmqctl import AsyncControlClient, ControlClient, ControlServer, RefusedError
from dstmrouter.zmqctl.messages import CALLS_MAX, Failure, Pushed, Reply, encode
from lab.netns import PATIENCE_S
from tests.zmqctl.samples import run
from tests.zmqctl.sockets import Keys, control_in_thread, plain_socket, running

if TYPE_CHECKING:
    from pathlib import Path


async def echo(params: dict[str, Any]) -> dict[str, Any]:
    return params


def test_blocking_client_calls(tmp_path: Path) -> None:
    with (
        control_in_thread(f"ipc://{tmp_path}/c", handlers={"echo": echo}) as server,
        ControlClient(server.endpoint) as client,
    ):
        assert client.call("echo", a=1) == {"a": 1}
        assert client.call("echo", timeout_s=3, b=[2]) == {"b": [2]}
        with pytest.raises(RefusedError, match="no method 'absent'"):
            client.call("absent")


def test_blocking_client_calls_over_tcp_with_keys() -> None:
    keys = Keys("admin")
    with (
        control_in_thread(
            "tcp://127.0.0.1:*", curve=keys.of_server(), handlers={"echo": echo}
        ) as server,
        ControlClient(server.endpoint, curve=keys.of("admin")) as client,
    ):
        assert client.call("echo", a=1) == {"a": 1}


def test_silence_is_an_error_and_the_request_is_forgotten(tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []

    async def note(params: dict[str, Any]) -> dict[str, Any]:
        calls.append(params)
        return {}

    endpoint = f"ipc://{tmp_path}/c"
    with ControlClient(endpoint) as client:
        with pytest.raises(ControlError, match="is the daemon running"):
            client.call("note", timeout_s=0.05, first=True)
        with control_in_thread(endpoint, handlers={"note": note}):
            client.call("note", second=True)
    assert calls == [{"second": True}]


def test_plain_tcp_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs CURVE"):
        ControlClient("tcp://127.0.0.1:5555")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"\xc1", "no msgpack map"),
        (encode(Reply(id=99, result={})), "no answer in time"),
        (encode(Failure(id=0, reason="malformed", text="no map")), "no map"),
        (
            encode(Pushed(id=1, applied=0, refused=0, rows=0, reasons={})),
            "unexpected answer pushed",
        ),
    ],
)
def test_answer_of_a_broken_server(tmp_path: Path, answer: bytes, text: str) -> None:
    endpoint = f"ipc://{tmp_path}/c"

    def serve() -> None:
        with plain_socket(zmq.DEALER) as server:
            server.setsockopt(zmq.LINGER, 1000)
            server.bind(endpoint)
            server.recv()
            server.send(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    with ControlClient(endpoint) as client, pytest.raises(ControlError, match=text):
        client.call("x", timeout_s=0.5)
    thread.join()


def test_many_calls_at_the_same_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers={"echo": echo})
        async with running(server), AsyncControlClient(server.endpoint) as client:
            calls = [client.call("echo", timeout_s=PATIENCE_S, n=n) for n in range(500)]
            answers = await asyncio.gather(*calls)
        assert [answer["n"] for answer in answers] == list(range(500))
        server.close()

    run(scenario())


def test_calls_that_wait_for_their_turn_end_in_time_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with AsyncControlClient(f"ipc://{tmp_path}/c") as client:
            calls = (client.call("x", timeout_s=0.05) for _ in range(3 * CALLS_MAX))
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(end) for end in ends} == {ControlError}

    run(scenario())


def test_call_without_a_server_ends_at_its_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with AsyncControlClient(f"ipc://{tmp_path}/c") as client:
            with pytest.raises(ControlError, match="no answer in time"):
                await client.call("x", timeout_s=0.05)

    run(scenario())


def test_malformed_answers_do_not_end_the_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoint = f"ipc://{tmp_path}/c"
        with plain_socket(zmq.DEALER) as server:
            server.bind(endpoint)
            async with AsyncControlClient(endpoint) as client:
                server.send(b"\xc1")
                server.send(encode(Reply(id=1, result={"ok": True})))
                assert await client.call("x") == {"ok": True}

    run(scenario())


def test_close_cancels_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        client = AsyncControlClient(f"ipc://{tmp_path}/c")
        calls = [asyncio.create_task(client.call("x")) for _ in range(CALLS_MAX + 1)]
        await asyncio.sleep(0)
        client.close()
        client.close()
        for call in calls:
            with pytest.raises(asyncio.CancelledError):
                await call

    run(scenario())
