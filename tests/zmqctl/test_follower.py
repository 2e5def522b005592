from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dstmrouter.zmqctl import follower as module
from dstmrouter.zmqctl.fetch import RETRY_S
from dstmrouter.zmqctl.follower import FETCH_INTERVAL_S, Follower, Phase
from dstmrouter.zmqctl.messages import (
    Ack,
    Alive,
    Delta,
    Heartbeat,
    Reply,
    SnapshotPart,
    SnapshotRequest,
)
from dstmrouter.zmqctl.update import ApplyResult
from tests.zmqctl.samples import FIRST4, puts

E1, E2 = b"1" * 16, b"2" * 16


def beat(generation: int, epoch: bytes = E1) -> Heartbeat:
    return Heartbeat(epoch=epoch, generation=generation, interval_ms=5000)


def delta(generation: int, epoch: bytes = E1) -> Delta:
    """The change of generation g binds address g to client g."""
    bindings = puts(generation, generation + 1, client=generation)
    return Delta(epoch=epoch, generation=generation, bindings=bindings)


def snapshot(generation: int, epoch: bytes = E1, part: int = 0, parts: int = 1) -> SnapshotPart:
    bindings = puts(part, part + 1, client=100 + generation)
    return SnapshotPart(
        epoch=epoch, generation=generation, part=part, parts=parts, age_s=0, bindings=bindings
    )


def apply_all(one: Follower) -> list[tuple[bool, int]]:
    """Apply what is there; returns (replace, generation) of every update."""
    done = []
    while (update := one.next_update()) is not None:
        done.append((update.replace, update.generation))
        one.applied(ApplyResult(applied=len(update.columns), refused=0, rows=len(done)))
    return done


def sent(one: Follower, now: float, kind: type[Any]) -> list[Any]:
    return [message for message in one.messages(now) if isinstance(message, kind)]


def following(generation: int = 7) -> Follower:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(generation), 0.0)
    one.messages(0.0)
    one.on_control(snapshot(generation), 0.0)
    assert apply_all(one) == [(True, generation)]
    one.messages(0.0)
    return one


def test_asks_for_nothing_before_the_feed_is_heard() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    assert one.messages(0.0) == [Alive(router="r1", epoch=b"", generation=0, rows=0, refused=0)]
    assert one.phase is Phase.SEEKING


def test_heartbeat_leads_to_a_snapshot_at_least_as_new() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    request = SnapshotRequest(router="r1", epoch=E1, generation=7, part=0)
    assert sent(one, 0.0, SnapshotRequest) == [request]


def test_first_change_may_come_before_any_heartbeat() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(delta(8), 0.0)
    assert [request.generation for request in sent(one, 0.0, SnapshotRequest)] == [7]
    one.on_control(snapshot(7), 0.0)
    assert apply_all(one) == [(True, 7), (False, 8)]


def test_changes_wait_for_the_snapshot_and_those_in_it_are_dropped() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    for generation in (8, 9, 10):
        one.on_feed(delta(generation), 0.0)
    assert apply_all(one) == []
    one.messages(0.0)
    one.on_control(snapshot(9), 0.0)
    assert apply_all(one) == [(True, 9), (False, 10)]


def test_snapshot_newer_than_the_feed_makes_late_changes_duplicates() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    one.messages(0.0)
    one.on_control(snapshot(9), 0.0)
    for message in (delta(8), beat(8), delta(9), delta(10)):
        one.on_feed(message, 0.0)
    assert apply_all(one) == [(True, 9), (False, 10)]
    assert one.counters["gaps"] == 0


def test_parts_are_applied_as_they_come_and_acknowledged_at_the_end() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    one.messages(0.0)
    one.on_control(snapshot(7, part=0, parts=2), 0.0)
    assert apply_all(one) == [(True, 7)]
    assert sent(one, 0.0, Ack) == []
    one.on_control(snapshot(7, part=1, parts=2), 0.0)
    assert apply_all(one) == [(True, 7)]
    ack = Ack(router="r1", epoch=E1, generation=7, applied=2, refused=0, rows=1)
    assert sent(one, 0.0, Ack) == [ack]


def test_changes_that_wait_are_applied_as_one() -> None:
    one = following(7)
    for generation in (8, 9, 10):
        one.on_feed(delta(generation), 0.0)
    update = one.next_update()
    assert update is not None
    assert (update.columns.ipv4 - FIRST4).tolist() == [8, 9, 10]
    assert update.generation == 10


def test_one_acknowledgement_for_several_updates_that_could_not_be_sent() -> None:
    one = following(7)
    for generation in (8, 9):
        one.on_feed(delta(generation), 0.0)
        apply_all(one)
    ack = Ack(router="r1", epoch=E1, generation=9, applied=2, refused=0, rows=1)
    assert sent(one, 0.0, Ack) == [ack]
    assert sent(one, 0.0, Ack) == []


@pytest.mark.parametrize("message", [delta(9), beat(8)])
def test_gap_leads_to_a_new_snapshot(message: Delta | Heartbeat) -> None:
    one = following(7)
    one.on_feed(message, 5.0)
    assert one.counters["gaps"] == 1
    assert [request.generation for request in sent(one, 5.0, SnapshotRequest)] == [8]
    one.on_control(snapshot(8), 5.0)
    assert apply_all(one)[0] == (True, 8)
    assert one.newest == message.generation


def test_other_epoch_leads_to_a_new_snapshot_and_drops_what_waited() -> None:
    one = following(7)
    one.on_feed(delta(8), 5.0)
    one.on_feed(beat(2, E2), 5.0)
    assert apply_all(one) == []
    assert [request.epoch for request in sent(one, 5.0, SnapshotRequest)] == [E2]
    one.on_control(snapshot(9), 5.0)  # of the former run
    assert apply_all(one) == []
    one.on_control(snapshot(2, E2), 5.0)
    assert apply_all(one) == [(True, 2)]
    assert one.in_use == (E2, 2)


def test_snapshots_are_not_stormed() -> None:
    one = following(7)
    one.on_feed(beat(9), 0.1)
    assert sent(one, 0.1, SnapshotRequest) == []
    assert one.next_timer() == FETCH_INTERVAL_S
    assert len(sent(one, FETCH_INTERVAL_S, SnapshotRequest)) == 1


def test_request_that_gets_no_answer_is_repeated() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    assert len(sent(one, 0.0, SnapshotRequest)) == 1
    assert len(sent(one, RETRY_S, SnapshotRequest)) == 1


def test_update_that_fails_leads_to_a_new_snapshot() -> None:
    one = following(7)
    one.on_feed(delta(8), 5.0)
    assert one.next_update() is not None
    one.failed(5.0)
    assert [request.generation for request in sent(one, 5.0, SnapshotRequest)] == [8]
    assert one.in_use == (E1, 7)


def test_full_buffer_leads_to_a_new_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER_DELTAS", 3)
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    for generation in range(8, 12):
        one.on_feed(delta(generation), 0.0)
    assert one.counters["overflows"] == 1
    assert one.state(0.0)["waiting_rows"] == 0
    assert [request.generation for request in sent(one, 5.0, SnapshotRequest)] == [11]


def test_silence_makes_the_feed_stale_until_it_is_heard_again() -> None:
    one = following(7)
    assert not one.stale(14.9)
    assert one.stale(15.0)
    one.on_feed(beat(7), 20.0)
    assert not one.stale(20.0)
    assert one.phase is Phase.FOLLOWING


def test_signs_of_life_go_out_at_the_servers_interval() -> None:
    one = following(7)
    assert sent(one, 4.9, Alive) == []
    alive = Alive(router="r1", epoch=E1, generation=7, rows=1, refused=0)
    assert sent(one, one.next_timer(), Alive) == [alive]


def test_unexpected_messages_are_counted() -> None:
    one = following(7)
    one.on_feed(Reply(id=1, result={}), 0.0)
    one.on_control(Reply(id=1, result={}), 0.0)
    one.on_control(snapshot(7), 0.0)
    assert one.counters["unexpected"] == 2
    assert one.counters["parts-ignored"] == 1


def test_snapshot_lifetimes_count_from_when_it_was_made() -> None:
    one = Follower(router="r1", source="s1", now=0.0)
    one.on_feed(beat(7), 0.0)
    one.messages(0.0)
    part = SnapshotPart(
        epoch=E1, generation=7, part=0, parts=1, age_s=20, bindings=puts(0, 1, lifetime_s=100)
    )
    one.on_control(part, 0.0)
    update = one.next_update()
    assert update is not None
    assert update.columns.lifetime_s.tolist() == [80]


def test_updates_say_at_which_version_of_a_shared_store_they_are_true() -> None:
    one = following()
    for generation, version in ((8, 40), (9, 42)):
        change = dataclasses.replace(delta(generation), store=b"db", version=version)
        one.on_feed(change, 1.0)
    update = one.next_update()
    assert update is not None
    assert (update.generation, update.store, update.version) == (9, b"db", 42)
