from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import zmq
import zmq.asyncio

from dstmrouter.errors import ConfigError
from dstmrouter.zmqctl import ControlServer, FeedPublisher, StoreStamp
from dstmrouter.zmqctl.endpoint import connect
from dstmrouter.zmqctl.messages import (
    Ack,
    Delta,
    Heartbeat,
    Message,
    SnapshotPart,
    SnapshotRequest,
    decode,
    encode,
)
from dstmrouter.zmqctl.publisher import DELTA_ROWS
from tests.zmqctl.samples import puts, run, until
from tests.zmqctl.sockets import FeedServer, Keys, running

if TYPE_CHECKING:
    from pathlib import Path


def server_in(tmp_path: Path, heartbeat_s: float = 60.0) -> FeedServer:
    return FeedServer(f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/c", heartbeat_s=heartbeat_s)


def subscriber(endpoint: str) -> zmq.asyncio.Socket:
    socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    connect(socket, endpoint, curve=None)
    return socket


async def receive(socket: zmq.asyncio.Socket) -> Message:
    return decode(await socket.recv())


def test_new_subscriber_is_greeted_with_the_generation(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = server_in(tmp_path)
        async with running(server):
            await server.change(puts(0, 1))
            for _ in range(2):  # the second of two equal subscriptions is heard as well
                with subscriber(server.publisher.endpoint) as feed:
                    beat = await receive(feed)
                    assert isinstance(beat, Heartbeat)
                    assert (beat.generation, beat.interval_ms) == (1, 60_000)

    run(scenario())


def test_heartbeats_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = server_in(tmp_path, heartbeat_s=0.05)
        async with running(server):
            with subscriber(server.publisher.endpoint) as feed:
                beats = [await receive(feed) for _ in range(5)]
        assert {type(beat) for beat in beats} == {Heartbeat}

    run(scenario())


def test_changes_of_a_shared_store_say_at_which_version_they_are_true(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = server_in(tmp_path)
        server.publisher.share(StoreStamp(b"db", lambda: 12))
        async with running(server):
            with subscriber(server.publisher.endpoint) as feed:
                await receive(feed)
                await server.change(puts(0, 1))
                delta = await receive(feed)
                assert isinstance(delta, Delta)
                assert (delta.store, delta.version) == (b"db", 12)

    run(scenario())


def test_large_changes_are_several_generations(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = server_in(tmp_path)
        async with running(server):
            with subscriber(server.publisher.endpoint) as feed:
                await receive(feed)
                assert await server.change(puts(0, DELTA_ROWS + 1)) == 2
                deltas = [await receive(feed) for _ in range(2)]
        sizes = [(d.generation, len(d.bindings)) for d in deltas if isinstance(d, Delta)]
        assert sizes == [(1, DELTA_ROWS), (2, 1)]

    run(scenario())


def test_snapshot_and_acknowledgement(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = server_in(tmp_path)
        publisher = server.publisher
        async with running(server):
            await server.change(puts(0, 3))
            with zmq.asyncio.Context.instance().socket(zmq.DEALER) as control:
                connect(control, server.control.endpoint, curve=None)
                for epoch in (bytes(16), publisher.epoch):
                    request = SnapshotRequest(router="r1", epoch=epoch, generation=1, part=0)
                    await control.send(encode(request))
                part = await receive(control)
                assert isinstance(part, SnapshotPart)
                assert (part.generation, len(part.bindings)) == (1, 3)
                ack = Ack(
                    router="r1",
                    epoch=publisher.epoch,
                    generation=1,
                    applied=2,
                    refused=1,
                    rows=2,
                )
                await control.send(encode(ack))
                assert await publisher.wait_acked(1, ["r1"], 20.0) == set()
        (state,) = publisher.routers()
        assert (state.name, state.generation, state.rows, state.refused) == ("r1", 1, 2, 1)
        assert publisher.counters["snapshot-requests-ignored"] == 1

    run(scenario())


def test_key_of_one_router_does_not_speak_for_another() -> None:
    async def scenario() -> None:
        keys = Keys("r1", "r2")
        server = FeedServer("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", curve=keys.of_server())
        async with running(server):
            with zmq.asyncio.Context.instance().socket(zmq.DEALER) as control:
                connect(control, server.control.endpoint, curve=keys.of("r1"))
                for router in ("r2", "r1"):
                    ack = Ack(
                        router=router,
                        epoch=server.publisher.epoch,
                        generation=0,
                        applied=0,
                        refused=0,
                        rows=0,
                    )
                    await control.send(encode(ack))
                await until(server.publisher.routers)
        assert [state.name for state in server.publisher.routers()] == ["r1"]
        assert server.publisher.counters["impostors"] == 1

    run(scenario())


def test_plain_tcp_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        control = ControlServer(f"ipc://{tmp_path}/c", curve=None, handlers={})
        with pytest.raises(ConfigError, match="needs CURVE"):
            FeedPublisher(
                epoch=bytes(16),
                feed="tcp://127.0.0.1:*",
                control=control,
                curve=None,
                snapshot=lambda: (0, puts(0, 0)),
            )
        control.close()

    run(scenario())
