from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dstmrouter.binding import USAGE_FIELDS
from dstmrouter.zmqctl.usage_columns import UsageColumns, pack_usage
from tests.cli.daemons import dstmctl
from tests.cli.test_ctl import ask
from tests.zmqctl.sockets import control_in_thread
from tests.zmqctl.test_usage_subscriber import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = 1_772_362_800.0  # 2026-03-01T11:00:00Z


class Router:
    """A router that remembers its switch, with two bindings that have ended, 8 and 9."""

    def __init__(self) -> None:
        self.on = False
        self.asked: list[dict[str, Any]] = []
        self.lost = 0

    async def state(self, _params: dict[str, Any]) -> dict[str, Any]:
        return {"on": self.on, "since": NOON if self.on else None, "ended": 9}

    async def set(self, params: dict[str, Any]) -> dict[str, Any]:
        self.on = params["on"]
        return await self.state(params)

    async def bindings(self, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(params)
        row = {"ipv4": "192.0.2.7", "client6": "2001:db8::7", "source": "s1"}
        counts = dict(zip(USAGE_FIELDS, [1_234_567, 2, 3, 4], strict=True))
        return {"total": 1, "bindings": [row | counts]}

    async def ended(self, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(params)
        columns = UsageColumns(
            account=np.array([3, 4], np.uint64),
            ipv4=np.array([0xC0000207, 0xC0000208], np.uint32),
            client6=np.ones((2, 2), np.uint64),
            psid_offset=np.array([0, 6], np.uint8),
            psid_len=np.array([0, 8], np.uint8),
            psid=np.array([0, 52], np.uint16),
            usage=np.array([[1, 20, 3, 60], [0, 0, 1, 9_000_000]], np.uint64),
            source=np.array([0, 1], np.uint16),
            sources=("s1", "s2"),
            until=np.array([NOON, NOON + 0.25]),
        )
        return {"after": 9, "more": True, "lost": self.lost, "bindings": pack_usage(columns)}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Router]]:
    router = Router()
    handlers = {
        "usage": router.state,
        "usage.set": router.set,
        "usage.ended": router.ended,
        "bindings": router.bindings,
    }
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=handlers) as server:
        yield server.endpoint, router


def test_the_switch(served: tuple[str, Router]) -> None:
    endpoint, router = served
    assert "no" in ask("usage", "show", "--router", endpoint)
    text = ask("usage", "on", "--router", endpoint)
    assert router.on
    assert "2026-03-01T11:00:00.000+00:00" in text
    told = json.loads(ask("usage", "off", "--router", endpoint, "--json"))
    assert told == {"on": False, "since": None, "ended": 9}


def test_bindings_with_their_usage(served: tuple[str, Router]) -> None:
    endpoint, router = served
    text = ask("bindings", "--usage", "--router", endpoint)
    assert "1,234,567" in text
    assert router.asked == [{"offset": 0, "limit": 100, "usage": True}]
    ask("bindings", "--router", endpoint)
    assert "usage" not in router.asked[1]


def test_what_has_ended(served: tuple[str, Router]) -> None:
    endpoint, router = served
    text = ask("usage", "ended", "--router", endpoint, "--after", "7", "--limit", "2")
    assert router.asked == [{"after": 7, "limit": 2}]
    for expected in ("ended: 2 and more", "192.0.2.8", "52", "9,000,000", "11:00:00.250", "s2"):
        assert expected in text
    assert "lost" not in text
    router.lost = 1000
    assert "1,000 before them are lost" in ask("usage", "ended", "--router", endpoint)


def test_what_has_ended_for_scripts(served: tuple[str, Router]) -> None:
    endpoint, _ = served
    told = json.loads(ask("usage", "ended", "--router", endpoint, "--json"))
    assert (told["after"], told["more"], told["lost"]) == (9, True, 0)
    whole, shared = told["bindings"]
    assert (whole["number"], whole["ipv4"], shared["number"]) == (8, "192.0.2.7", 9)
    assert [whole[name] for name in USAGE_FIELDS] == [1, 20, 3, 60]
    assert "psid" not in whole
    assert (shared["psid_offset"], shared["psid_len"], shared["psid"]) == (6, 8, 52)


@pytest.fixture
def feeding(tmp_path: Path) -> Iterator[Served]:
    with contextlib.closing(Served(f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/c")) as made:
        made.do("use", "end", "use", "use", "tell")
        yield made


def watch(feeding: Served, *words: str) -> str:
    return ask("usage", "watch", "--router", feeding.control.endpoint, *words)


def test_watch_shows_what_is_used_and_what_ends_from_now_on(feeding: Served) -> None:
    def end_later() -> None:
        while "usage.bindings" not in feeding.calls:
            time.sleep(0.01)
        feeding.do("end", "tell")

    thread = threading.Thread(target=end_later)
    thread.start()
    text = watch(feeding, "--json", "--count", "2")
    thread.join()
    now, ended = (json.loads(line) for line in text.splitlines())
    moment = "1970-01-01T00:00:00.00{}+00:00"
    assert (now["account"], now["packets_to_client"]) == (2, 2)
    assert (now["at"], "until" in now) == (moment.format(1), False)
    assert (ended["epoch"], ended["packets_to_client"]) == (feeding.router.epoch.hex(), 2)
    assert (ended["until"], "at" in ended) == (moment.format(0), False)


def test_watch_for_people(feeding: Served) -> None:
    text = watch(feeding, "--feed", feeding.feed.endpoint, "--count", "1")
    for expected in ("used: 1", "192.0.2.7", "1970-01-01", "s1"):
        assert expected in text


def test_watch_needs_a_feed(feeding: Served) -> None:
    feeding.told_feed = None
    done = dstmctl("usage", "watch", "--router", feeding.control.endpoint)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no feed of usage, see [usage_feed] of router.toml" in done.stderr
