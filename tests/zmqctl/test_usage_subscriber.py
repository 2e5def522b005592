"""A subscriber and a router that is nothing but its usage, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.errors import ConfigError
from dstmrouter.zmqctl import ControlServer, CurveServer, UsageReport, UsageSubscriber
from dstmrouter.zmqctl import usage_subscriber as module
from dstmrouter.zmqctl.messages import Pushed, encode
from dstmrouter.zmqctl.numbered_feed import NumberedFeed
from lab.netns import PATIENCE_S
from tests.zmqctl.sockets import Keys, running
from tests.zmqctl.usage_router import EPOCH, OTHER, Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Served:
    """A Router at two endpoints, in a thread; what it is to do it does there."""

    def __init__(
        self, feed: str, control: str, curve: CurveServer | None = None, epoch: bytes = EPOCH
    ) -> None:
        self.router = Router(epoch)
        self.refuses = False
        self.told_feed: str | None = feed
        self.calls: list[str] = []
        self._endpoints, self._curve = (feed, control), curve
        self._started, self._stop = threading.Event(), asyncio.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self._started.wait(PATIENCE_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        where, curve = self._endpoints, self._curve
        methods = ("usage", "usage.ended", "usage.bindings")
        handlers = {method: self._handler(method) for method in methods}
        self.control = ControlServer(where[1], curve=curve, handlers=handlers)
        self.feed = NumberedFeed(
            where[0], epoch=self.router.epoch, curve=curve, heartbeat_s=0.05, queue=100
        )
        self._started.set()
        async with running(self.control, self.feed):
            await self._stop.wait()
        self.feed.close()
        self.control.close()

    def _handler(self, method: str) -> Any:
        async def handle(params: dict[str, Any]) -> dict[str, Any]:
            self.calls.append(method)
            if self.refuses:
                return {}
            if method == "usage":
                ended = len(self.router.finals)
                return {"feed": self.told_feed, "epoch": self.router.epoch, "ended": ended}
            return self.router.answer(method, params["after"])

        return handle

    def do(self, *events: str) -> None:
        """Let the router do something, and send what is in its queue then."""

        async def act() -> None:
            for event in events:
                getattr(self.router, event)()
            while self.router.queue:
                message = self.router.queue.pop(0)
                self.feed.generation = message.generation  # type: ignore[union-attr]
                await self.feed.send(message)

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(PATIENCE_S)

    def send(self, octets: bytes) -> None:
        """Send anything on the feed."""
        sent = asyncio.run_coroutine_threadsafe(self._send(octets), self._loop)
        sent.result(PATIENCE_S)

    async def _send(self, octets: bytes) -> None:
        await self.feed._socket.send(octets)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(PATIENCE_S)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with contextlib.closing(Served(f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/c")) as made:
        yield made


@pytest.fixture
def subscriber(tmp_path: Path) -> Iterator[UsageSubscriber]:
    with UsageSubscriber(f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/c") as made:
        yield made


def take_until(
    subscriber: UsageSubscriber, wanted: Callable[[UsageReport], object]
) -> list[UsageReport]:
    """Reports up to the first that is wanted."""
    reports = []
    while True:
        report = subscriber.take(PATIENCE_S)
        assert report is not None, "no such report"
        reports.append(report)
        if wanted(report):
            return reports


def packets(report: UsageReport) -> list[int]:
    told: list[int] = report.columns.usage[:, 0].tolist()
    return told


def test_who_comes_late_is_told_all(served: Served, subscriber: UsageSubscriber) -> None:
    served.do("use", "end", "tell", "use", "use", "tell")
    first, second = take_until(subscriber, lambda report: report.at is not None)
    assert first.columns.until is not None
    assert (packets(first), first.ended, first.epoch) == ([1], 1, EPOCH)
    assert (packets(second), second.at) == ([2], 0.001)
    assert subscriber.complete
    served.do("use", "tell")
    take_until(subscriber, lambda report: packets(report) == [3])
    assert served.calls == ["usage.ended", "usage.bindings"]


def test_what_is_lost_is_asked_for(served: Served, subscriber: UsageSubscriber) -> None:
    served.do("use", "tell")
    take_until(subscriber, lambda report: packets(report) == [1])
    served.do("end", "tell", "use", "use", "tell", "lose", "lose", "lose")
    ended, lasting = take_until(subscriber, lambda report: report.at is not None)
    assert ended.columns.until is not None
    assert (packets(ended), packets(lasting)) == ([1], [2])
    assert subscriber.counters["gaps"] == 1


def test_a_lost_end_is_asked_for(served: Served, subscriber: UsageSubscriber) -> None:
    served.do("use", "tell")
    take_until(subscriber, lambda report: packets(report) == [1])
    served.do("end", "tell", "lose")  # the heartbeat after it is not lost
    (report,) = take_until(subscriber, lambda report: report.columns.until is not None)
    assert (packets(report), report.ended) == ([1], 1)
    assert subscriber.counters["gaps"] == 1


def test_nothing_is_a_report_only_after_the_time_is_over(
    served: Served, subscriber: UsageSubscriber
) -> None:
    served.do("use", "tell")
    take_until(subscriber, lambda report: packets(report) == [1])
    assert subscriber.take(0.2) is None


def test_a_router_may_come_later_and_come_again(
    tmp_path: Path, subscriber: UsageSubscriber
) -> None:
    endpoints = (f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/c")
    for epoch in (EPOCH, OTHER):
        with contextlib.closing(Served(*endpoints, epoch=epoch)) as served:
            served.do("use", "tell")
            *_, last = take_until(subscriber, lambda report: packets(report) == [1])
            assert last.epoch == epoch


def test_what_is_malformed_is_counted_and_skipped(
    served: Served, subscriber: UsageSubscriber
) -> None:
    served.refuses = True
    while not subscriber.counters["malformed"]:
        assert subscriber.take(0.1) is None
    served.refuses = False
    served.do("use", "tell")
    take_until(subscriber, lambda report: packets(report) == [1])
    while not subscriber.complete:
        subscriber.take(0.1)
    before = subscriber.counters["malformed"]
    served.send(b"\xc1")
    served.send(encode(Pushed(id=1, applied=0, refused=0, rows=0, reasons={})))
    served.do("use", "tell")
    take_until(subscriber, lambda report: packets(report) == [2])
    assert subscriber.counters["malformed"] == before + 2
    assert subscriber.complete


def test_it_is_an_iterator(served: Served, subscriber: UsageSubscriber) -> None:
    served.do("use", "tell")
    assert packets(next(iter(subscriber))) == [1]


def test_keys_are_for_what_is_not_local(tmp_path: Path) -> None:
    keys = Keys("noc")
    served = Served("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", keys.of_server())
    with contextlib.closing(served):
        served.do("use", "tell")
        feed, control = served.feed.endpoint, served.control.endpoint
        with UsageSubscriber(feed, control, curve=keys.of("noc")) as subscriber:
            take_until(subscriber, lambda report: packets(report) == [1])
        with UsageSubscriber(feed, control, curve=keys.of_stranger()) as stranger:
            assert stranger.take(0.3) is None
        with pytest.raises(ConfigError, match="TCP needs CURVE"):
            UsageSubscriber(feed, control)
    with contextlib.closing(Served(f"ipc://{tmp_path}/f", f"ipc://{tmp_path}/c")) as local:
        local.do("use", "tell")
        where = (f"ipc://{tmp_path}/f", f"ipc://{tmp_path}/c")
        with UsageSubscriber(*where, curve=keys.of("noc")) as subscriber:
            take_until(subscriber, lambda report: packets(report) == [1])


def test_silence_opens_new_connections(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REOPEN_S", 0.1)
    with UsageSubscriber(f"ipc://{tmp_path}/nobody", f"ipc://{tmp_path}/c") as subscriber:
        assert subscriber.take(0.35) is None
        assert subscriber.counters["reconnects"] >= 1
        subscriber._endpoint = served.feed.endpoint  # as if it had got a key meanwhile
        served.do("use", "tell")
        take_until(subscriber, lambda report: packets(report) == [1])
