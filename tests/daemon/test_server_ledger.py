from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dstmrouter.binding import BindingColumns, full_address_columns, words6
from dstmrouter.daemon.server_ledger import TURNS_MAX, Ledger
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore
from dstmrouter.zmqctl import ControlServer, FeedPublisher
from tests.daemon.server_process import DEADLINE_S, until
from tests.leases.lending import FIRST, TEP6, book_of, wish

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dstmrouter.leases.book import LeaseBook


class WatchedFeed(FeedPublisher):
    """A publisher that notes what is on disk at the moment it publishes."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.published: list[tuple[list[int], dict[int, int]]] = []  # addresses; states on disk
        control = ControlServer(f"ipc://{home}/control", curve=None, handlers={})
        super().__init__(
            epoch=os.urandom(16),
            feed=f"ipc://{home}/feed",
            control=control,
            curve=None,
            snapshot=lambda: (0, nothing()),
        )
        self.undo = contextlib.ExitStack()
        self.undo.callback(control.close)
        self.undo.callback(self.close)

    async def publish(self, changes: BindingColumns) -> int:
        with contextlib.closing(sqlite3.connect(self._home / "leases.sqlite")) as disk:
            rows = dict(disk.execute("SELECT ipv4, state FROM leases"))
        self.published.append((changes.ipv4.tolist(), rows))
        return await super().publish(changes)


def nothing() -> BindingColumns:
    return full_address_columns(np.zeros(0, np.uint32), words6([]), lifetime_s=0, tep6=[TEP6])


class Setting:
    """A book, its store, a watched feed, and the ledger between them."""

    def __init__(self, home: Path, routers: set[str], book: LeaseBook | None = None) -> None:
        self.book = book or book_of(100)
        self.store = LeaseStore(home / "leases.sqlite")
        self.feed = WatchedFeed(home)
        self.ledger = Ledger(self.book, self.store, self.feed, tep6=[TEP6], routers=lambda: routers)

    def grant(self, number: int) -> Coroutine[Any, Any, int]:
        return self.ledger.settle([self.book.grant(wish(number), time.monotonic())])


def settling(
    scenario: Callable[[Setting], Coroutine[Any, Any, None]],
    *,
    routers: set[str] | None = None,
    book: LeaseBook | None = None,
) -> None:
    """Run `scenario` while a ledger settles."""

    async def run(home: Path) -> None:
        setting = Setting(home, routers or set(), book)
        tasks = [
            asyncio.create_task(setting.ledger.run_settling()),
            asyncio.create_task(setting.ledger.run_removal()),
        ]
        try:
            await asyncio.wait_for(scenario(setting), DEADLINE_S)
        finally:
            for task in tasks:
                task.cancel()
            setting.feed.undo.close()
            setting.store.close()

    with tempfile.TemporaryDirectory(prefix="dstm") as home:
        asyncio.run(run(Path(home)))


def test_nothing_is_published_before_it_is_on_disk() -> None:
    async def scenario(setting: Setting) -> None:
        for number in range(3):
            await setting.grant(number)
        await setting.ledger.settle([setting.book.release(FIRST + 1)])
        for addresses, on_disk in setting.feed.published:
            assert set(addresses) <= set(on_disk)
        last = setting.feed.published[-1]
        assert last[1][int(FIRST + 1)] == State.REMOVING

    settling(scenario)


def test_changes_that_arrive_together_share_a_transaction_and_a_generation() -> None:
    async def scenario(setting: Setting) -> None:
        generations = await asyncio.gather(*(setting.grant(number) for number in range(60)))
        assert len(setting.feed.published) <= 2
        assert max(generations) == setting.feed.generation <= 2
        told = [address for addresses, _ in setting.feed.published for address in addresses]
        assert sorted(told) == [int(FIRST + n) for n in range(60)]

    settling(scenario)


async def one_each_turn(setting: Setting, count: int) -> None:
    grants = []
    for number in range(count):
        grants.append(asyncio.create_task(setting.grant(number)))
        await asyncio.sleep(0)
    await asyncio.gather(*grants)


def test_changes_that_come_one_by_one_share_a_transaction_too() -> None:
    async def scenario(setting: Setting) -> None:
        await one_each_turn(setting, 20)
        assert len(setting.feed.published) == 1

    settling(scenario)


def test_changes_that_never_end_do_not_keep_the_first_waiting() -> None:
    async def scenario(setting: Setting) -> None:
        await one_each_turn(setting, TURNS_MAX + 10)
        assert len(setting.feed.published) == 2

    settling(scenario)


def test_what_routers_need_not_know_is_stored_but_not_published() -> None:
    async def scenario(setting: Setting) -> None:
        lease = setting.book.grant(wish(1), 0.0)
        setting.book.release(lease.ipv4)
        resting = setting.book.removed(lease.ipv4, lease.lease_id, 0.0)
        assert resting is not None
        assert await setting.ledger.settle([resting]) == 0
        assert setting.feed.published == []
        assert setting.store.load().state.tolist() == [State.QUARANTINE]

    settling(scenario)


def test_removal_is_not_believed_before_anyone_could_acknowledge_it() -> None:
    """A release in memory whose message still waits: an older acknowledgement is not its own."""

    async def scenario(setting: Setting) -> None:
        await setting.grant(1)
        renewed = setting.book.renew(FIRST, wish(1).client6, time.monotonic(), lifetime_s=None)
        waiting = asyncio.create_task(setting.ledger.settle([renewed]))
        await asyncio.sleep(0)  # the renewal is in the queue now
        released = setting.book.release(FIRST)
        await waiting
        assert setting.ledger._leaving == {}
        await setting.ledger.settle([released])
        assert list(setting.ledger._leaving) == [(FIRST, 0)]

    settling(scenario)


def test_a_removal_that_runs_out_is_not_watched_any_more() -> None:
    async def scenario(setting: Setting) -> None:
        await setting.grant(1)
        released = setting.book.release(FIRST)
        await setting.ledger.settle([released])
        assert setting.ledger._leaving == {released.share: released.lease_id}
        await setting.ledger.settle(setting.book.expire(released.until))
        assert setting.ledger._leaving == {}

    settling(scenario)


def test_nor_is_one_that_goes_on_at_another_server() -> None:
    async def scenario(setting: Setting) -> None:
        await setting.grant(1)
        released = setting.book.release(FIRST)
        for state, lease_id, kept in (
            (State.REMOVING, released.lease_id, True),
            (State.REMOVING, released.lease_id + 1, False),
            (State.QUARANTINE, released.lease_id, False),
            (State.ACTIVE, released.lease_id, False),
        ):
            setting.ledger.watch_removal(released.share, released.lease_id)
            news = dataclasses.replace(released, state=state, lease_id=lease_id)
            setting.ledger._forget_ended([news])
            assert bool(setting.ledger._leaving) is kept

    settling(scenario)


def test_without_a_router_only_expiry_ends_a_removal() -> None:
    async def scenario(setting: Setting) -> None:
        await setting.grant(1)
        await setting.ledger.settle([setting.book.release(FIRST)])
        await until(lambda: setting.ledger._leaving, "the removal to be watched")
        assert setting.book.table.get(0).state is State.REMOVING
        again = setting.book.grant(wish(1), time.monotonic())
        await setting.ledger.settle([again])
        await until(lambda: not setting.ledger._leaving, "the removal to be forgotten")
        assert setting.book.is_current(again)
        assert setting.feed.generation == 3

    settling(scenario)
