from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import zmq

from dstmrouter.errors import ConfigError
from dstmrouter.zmqctl import CurveServer, KeyPair
from dstmrouter.zmqctl.messages import Heartbeat, Message, decode
from dstmrouter.zmqctl.numbered_feed import NumberedFeed
from tests.zmqctl.samples import run, until
from tests.zmqctl.sockets import plain_socket, running
from tests.zmqctl.usage_router import EPOCH, beat

if TYPE_CHECKING:
    from pathlib import Path


def feed_in(tmp_path: Path, **changes: Any) -> NumberedFeed:
    settings = {"epoch": EPOCH, "curve": None, "heartbeat_s": 60.0, "queue": 4} | changes
    return NumberedFeed(f"ipc://{tmp_path}/feed", **settings)


async def received(feed: NumberedFeed, count: int) -> list[Message]:
    """What a new subscriber gets first."""
    with plain_socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(feed.endpoint)
        messages: list[Message] = []
        while len(messages) < count:
            await until(lambda: socket.poll(0))
            messages.append(decode(socket.recv()))
    return messages


def test_a_new_subscriber_is_told_at_once_where_the_feed_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        feed = feed_in(tmp_path)
        async with running(feed):
            feed.generation = 7
            for _ in range(2):
                assert await received(feed, 1) == [
                    Heartbeat(epoch=EPOCH, generation=7, interval_ms=60_000)
                ]
        feed.close()
        assert feed.counters["subscriptions"] == 2

    run(scenario())


def test_heartbeats_come_in_intervals(tmp_path: Path) -> None:
    async def scenario() -> None:
        feed = feed_in(tmp_path, heartbeat_s=0.02)
        async with running(feed):
            assert len(await received(feed, 3)) == 3
        feed.close()

    run(scenario())


def test_who_does_not_read_costs_the_queue_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        feed = feed_in(tmp_path)
        async with running(feed):
            with plain_socket(zmq.SUB) as deaf:
                deaf.setsockopt(zmq.RCVHWM, 1)
                deaf.setsockopt(zmq.SUBSCRIBE, b"")
                deaf.connect(feed.endpoint)
                await until(lambda: feed.counters["subscriptions"])
                for generation in range(5000):  # the kernel's buffers hold some, too
                    await feed.send(beat(generation))
                got = []
                while deaf.poll(200):
                    got.append(deaf.recv())
        feed.close()
        assert len(got) < 5000

    run(scenario())


def test_tcp_needs_keys_and_a_path_one_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError, match="TCP needs CURVE"):
            NumberedFeed("tcp://127.0.0.1:*", epoch=EPOCH, curve=None, heartbeat_s=1, queue=1)
        feed = feed_in(tmp_path)
        with pytest.raises(ConfigError, match="another process serves it"):
            feed_in(tmp_path)
        feed.close()
        feed.close()
        curve = CurveServer(KeyPair.generate(), {})
        keyed = NumberedFeed("tcp://127.0.0.1:*", epoch=EPOCH, curve=curve, heartbeat_s=1, queue=1)
        assert keyed.endpoint.startswith("tcp://")
        keyed.close()

    run(scenario())
