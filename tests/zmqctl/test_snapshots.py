from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.zmqctl.columns import ROWS_MAX
from dstmrouter.zmqctl.messages import SnapshotPart, SnapshotRequest
from dstmrouter.zmqctl.snapshots import (
    KEPT_MAX,
    KEPT_S,
    MAKE_INTERVAL_S,
    SHARED_S,
    SnapshotShelf,
    StoreStamp,
)
from tests.zmqctl.samples import puts

if TYPE_CHECKING:
    from dstmrouter.binding import BindingColumns

EPOCH = b"e" * 16


class Source:
    """What the server has, and how often it was asked for all of it."""

    def __init__(self, rows: int = 10) -> None:
        self.generation = 7
        self.bindings = puts(0, rows)
        self.made = 0
        self.shelf = SnapshotShelf(EPOCH, self.make)

    def make(self) -> tuple[int, BindingColumns]:
        self.made += 1
        return self.generation, self.bindings

    def ask(
        self, part: int, generation: int, now: float, epoch: bytes = EPOCH
    ) -> SnapshotPart | None:
        request = SnapshotRequest(router="r1", epoch=epoch, generation=generation, part=part)
        return self.shelf.part(request, now)


def test_parts_together_are_everything() -> None:
    source = Source(rows=2 * ROWS_MAX + 5)
    parts = [source.ask(number, 7, 0.0) for number in range(3)]
    assert [part.parts if part else 0 for part in parts] == [3, 3, 3]
    addresses = np.concatenate([part.bindings.ipv4 for part in parts if part])
    assert np.array_equal(addresses, source.bindings.ipv4)
    assert source.made == 1
    assert source.ask(3, 7, 0.0) is None


def test_nothing_is_one_empty_part() -> None:
    part = Source(rows=0).ask(0, 7, 0.0)
    assert part is not None
    assert (part.parts, len(part.bindings)) == (1, 0)


def test_a_snapshot_keeps_the_version_at_which_it_was_made() -> None:
    source, versions = Source(rows=ROWS_MAX + 1), iter((30, 31))
    source.shelf.stamp = StoreStamp(b"db", lambda: next(versions))
    parts = [source.ask(0, 7, 0.0), source.ask(1, 7, 1.0), source.ask(0, 7, SHARED_S)]
    assert [(part.store, part.version) for part in parts if part] == [(b"db", 30)] * 3
    assert (later := source.ask(0, 7, SHARED_S + 1)) is not None
    assert later.version == 31


def test_routers_that_ask_at_the_same_time_share_one() -> None:
    source = Source()
    assert source.ask(0, 7, 0.0) is not None
    source.generation = 8
    part = source.ask(0, 6, SHARED_S)
    assert part is not None
    assert (part.generation, part.age_s, source.made) == (7, 2, 1)


def test_one_that_is_too_old_for_the_router_is_made_anew() -> None:
    source = Source()
    source.ask(0, 7, 0.0)
    source.generation = 8
    part = source.ask(0, 8, MAKE_INTERVAL_S)
    assert part is not None
    assert (part.generation, part.age_s) == (8, 0)
    former = source.ask(0, 7, 0.2)
    assert former is not None
    assert former.generation == 8  # the newest that will do


def test_later_parts_come_from_the_snapshot_they_belong_to() -> None:
    source = Source(rows=ROWS_MAX + 1)
    source.ask(0, 7, 0.0)
    source.generation = 8
    source.bindings = puts(0, 1)
    source.ask(0, 8, 1.0)
    part = source.ask(1, 7, 1.0)
    assert part is not None
    assert (part.generation, part.part, len(part.bindings)) == (7, 1, 1)


def test_what_is_made_does_not_change_any_more() -> None:
    source = Source()
    source.bindings.ipv4[:] = 1
    source.ask(0, 7, 0.0)
    source.bindings.ipv4[:] = 2
    part = source.ask(0, 7, 1.0)
    assert part is not None
    assert set(part.bindings.ipv4.tolist()) == {1}


def test_making_is_limited_however_often_routers_ask() -> None:
    source = Source()
    for step in range(100):
        source.generation += 1
        source.ask(0, source.generation, step * MAKE_INTERVAL_S / 10)
    assert source.made <= 11


def test_request_that_came_too_soon_may_be_tried_again() -> None:
    source = Source()
    source.ask(0, 7, 0.0)
    source.generation = 8
    request = SnapshotRequest(router="r1", epoch=EPOCH, generation=8, part=0)
    assert source.shelf.part(request, 0.01) is None
    assert source.shelf.too_soon(request, 0.01)
    assert source.shelf.part(request, MAKE_INTERVAL_S) is not None
    assert not source.shelf.too_soon(request, 1.0)


def test_few_are_kept_and_none_for_long() -> None:
    source = Source()
    for step in range(10):
        source.generation = step
        source.ask(0, step, float(step))
    assert [source.ask(0, step, 9.0) is not None for step in range(10)] == [True] * 10
    assert len(source.shelf._kept) == KEPT_MAX
    made = source.made
    source.ask(0, 0, 9.0 + KEPT_S + 1)
    assert source.made == made + 1
    assert len(source.shelf._kept) == 1


def test_request_for_another_run_or_the_future_gets_nothing() -> None:
    source = Source()
    assert source.ask(0, 7, 0.0, epoch=b"f" * 16) is None
    assert source.made == 0
    assert source.ask(0, 99, 0.0) is None
