from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.messages import Pushed, UsageChanged, UsageEnded
from dstmrouter.zmqctl.usage_columns import pack_usage
from dstmrouter.zmqctl.usage_follower import UsageFollower
from tests.zmqctl.test_usage_columns import columns
from tests.zmqctl.usage_router import EPOCH, OTHER, Router, beat, entries, lasting

if TYPE_CHECKING:
    from dstmrouter.zmqctl import UsageReport
    from dstmrouter.zmqctl.messages import Message


def more(generation: int, *packets: int, epoch: bytes = EPOCH) -> Message:
    told = lasting(*packets)
    return UsageChanged(epoch=epoch, generation=generation, at_ms=7500, bindings=told)


def over(generation: int, first: int, last: int) -> Message:
    told = entries(first, last)
    return UsageEnded(epoch=EPOCH, generation=generation, after=first - 1, bindings=told)


def ended_answer(generation: int, first: int, last: int, **changes: Any) -> dict[str, Any]:
    told = {"after": last, "more": False, "lost": 0, "bindings": pack_usage(entries(first, last))}
    return {"epoch": EPOCH, "generation": generation} | told | changes


def lasting_answer(generation: int, *packets: int, after: int | None = None) -> dict[str, Any]:
    told = {"after": after, "at_ms": 8000, "bindings": pack_usage(lasting(*packets))}
    return {"epoch": EPOCH, "generation": generation} | told


def accounts(report: UsageReport | None) -> list[int]:
    return [] if report is None else report.columns.account.tolist()


def following(generation: int = 0, ended: int = 0) -> UsageFollower:
    """One that knows all up to there."""
    follower = UsageFollower(EPOCH, ended)
    follower.on_feed(beat(generation))
    follower.on_answer(ended_answer(generation, ended + 1, ended))
    follower.on_answer(lasting_answer(generation))
    assert follower.complete
    return follower


def test_all_is_asked_for_once_the_feed_was_heard() -> None:
    follower = UsageFollower()
    assert follower.question() is None
    assert follower.on_feed(beat(3)) is None
    assert follower.question() == ("usage.ended", {"after": 0, "limit": 16_384})
    report = follower.on_answer(ended_answer(3, 1, 2, more=True))
    assert report is not None
    assert (accounts(report), report.ended, report.at, report.lost) == ([101, 102], 2, None, 0)
    assert follower.question() == ("usage.ended", {"after": 2, "limit": 16_384})
    assert follower.on_answer(ended_answer(4, 3, 2)) is None
    assert follower.question() == ("usage.bindings", {"after": 0, "limit": 16_384})
    report = follower.on_answer(lasting_answer(4, 10, 20, after=77))
    assert report is not None
    assert (accounts(report), report.at, report.epoch) == ([1, 2], 8.0, EPOCH)
    assert follower.question() == ("usage.bindings", {"after": 77, "limit": 16_384})
    assert not follower.complete
    assert accounts(follower.on_answer(lasting_answer(6, 30))) == [1]
    assert (follower.question(), follower.complete, follower.gaps) == (None, True, 0)


def test_bindings_that_have_used_nothing_are_not_told() -> None:
    follower = UsageFollower()
    follower.on_feed(beat(3))
    follower.on_answer(ended_answer(3, 1, 0))
    assert follower.on_answer(lasting_answer(3, 0, 0, after=5)) is None
    assert accounts(follower.on_answer(lasting_answer(3, 0, 7))) == [2]
    assert follower.complete


def test_messages_that_say_nothing_newer_than_the_answer_are_skipped() -> None:
    follower = following(generation=4)
    assert follower.on_feed(more(3, 1)) is None
    assert follower.on_feed(more(4, 1)) is None
    assert accounts(follower.on_feed(more(5, 1, 2))) == [1, 2]
    assert follower.complete


def test_entries_are_told_once_however_they_come() -> None:
    follower = following(generation=4, ended=2)
    assert accounts(follower.on_feed(over(5, 1, 4))) == [103, 104]
    assert follower.on_feed(over(6, 3, 4)) is None
    report = follower.on_feed(over(7, 5, 5))
    assert report is not None
    assert (accounts(report), report.ended) == ([105], 5)


@pytest.mark.parametrize("message", [more(6, 9), beat(5), beat(6), over(6, 1, 1)])
def test_a_hole_leads_to_questions(message: Message) -> None:
    follower = following(generation=4)
    follower.on_feed(message)
    assert (follower.gaps, follower.complete) == (1, False)
    assert follower.question() == ("usage.ended", {"after": follower.ended, "limit": 16_384})
    follower.on_answer(ended_answer(8, follower.ended + 1, follower.ended))
    follower.on_answer(lasting_answer(8))
    assert follower.on_feed(more(7, 1)) is None
    assert accounts(follower.on_feed(more(9, 1))) == [1]
    assert (follower.gaps, follower.complete) == (1, True)


def test_numbers_of_a_message_behind_a_hole_are_told() -> None:
    assert accounts(following(generation=4).on_feed(more(6, 9))) == [1]


def test_missing_entries_are_asked_for() -> None:
    follower = following(generation=4, ended=2)
    assert follower.on_feed(over(5, 4, 6)) is None
    assert follower.question() == ("usage.ended", {"after": 2, "limit": 16_384})
    assert accounts(follower.on_answer(ended_answer(5, 3, 6))) == [103, 104, 105, 106]


def test_entries_that_are_lost_are_told_of() -> None:
    follower = UsageFollower(EPOCH, 2)
    follower.on_feed(beat(9))
    report = follower.on_answer(ended_answer(9, 6, 7, lost=3))
    assert report is not None
    assert (accounts(report), report.lost, report.ended) == ([106, 107], 3, 7)


def test_another_epoch_begins_anew() -> None:
    follower = following(generation=4, ended=2)
    assert follower.on_feed(more(1, 9, epoch=OTHER)) is None
    assert (follower.epoch, follower.ended, follower.gaps) == (OTHER, 0, 0)
    assert follower.question() == ("usage.ended", {"after": 0, "limit": 16_384})


def test_who_knows_the_last_report_goes_on_there() -> None:
    follower = UsageFollower(EPOCH, 5)
    follower.on_feed(beat(0))
    assert follower.question() == ("usage.ended", {"after": 5, "limit": 16_384})
    stranger = UsageFollower(OTHER, 5)
    stranger.on_feed(beat(0))
    assert stranger.question() == ("usage.ended", {"after": 0, "limit": 16_384})


def test_no_answer_or_one_of_another_run_waits_for_the_feed() -> None:
    follower = UsageFollower()
    follower.on_feed(beat(3))
    assert follower.on_answer(ended_answer(3, 1, 2, epoch=OTHER)) is None
    assert follower.question() is None
    follower.on_feed(beat(3))
    assert follower.question() is not None
    follower.no_answer()
    assert (follower.question(), follower.complete) == (None, False)
    follower.on_feed(beat(1, OTHER))
    assert follower.question() == ("usage.ended", {"after": 0, "limit": 16_384})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"epoch": b"1"}, "epoch: expected 16 to 16 octets"),
        ({"generation": -1}, "generation: expected a number"),
        ({"after": None}, "after: expected a number"),
        ({"after": 1}, "after: 1 does not go on from 0"),
        ({"after": 9}, "after: 9 does not go on from 0"),
        ({"lost": "1"}, "lost: expected a number"),
        ({"bindings": pack_usage(columns())}, "bindings: usage: until is missing"),
        ({"more": True, "after": 0, "bindings": pack_usage(entries(1, 0))}, "after: 0 does not"),
    ],
)
def test_answers_that_cannot_be_used_change_nothing(change: dict[str, Any], problem: str) -> None:
    follower = UsageFollower()
    follower.on_feed(beat(3))
    before = follower.question()
    with pytest.raises(DecodeError, match=problem):
        follower.on_answer(ended_answer(3, 1, 2) | change)
    assert follower.question() == before
    assert accounts(follower.on_answer(ended_answer(3, 1, 2))) == [101, 102]


@pytest.mark.parametrize("change", [{"after": 76}, {"after": 77}, {"after": True}, {"at_ms": None}])
def test_pages_that_do_not_go_on_are_refused(change: dict[str, Any]) -> None:
    follower = UsageFollower()
    follower.on_feed(beat(3))
    follower.on_answer(ended_answer(3, 1, 2))
    follower.on_answer(lasting_answer(3, 1, after=77))
    with pytest.raises(DecodeError):
        follower.on_answer(lasting_answer(3, 1, after=99) | change)
    assert follower.question() == ("usage.bindings", {"after": 77, "limit": 16_384})


def test_messages_of_another_feed_are_refused() -> None:
    with pytest.raises(DecodeError, match="pushed in a feed of usage"):
        UsageFollower().on_feed(Pushed(id=1, applied=0, refused=0, rows=0, reasons={}))


class Biller:
    """Reads all that a router says, and notes what it is told."""

    def __init__(self, router: Router) -> None:
        self.follower = UsageFollower()
        self.ended: list[int] = []
        self.packets: dict[int, int] = {}
        self._router = router

    def read(self) -> None:
        while (question := self.follower.question()) is not None:
            method, params = question
            self._note(self.follower.on_answer(self._router.answer(method, params["after"])))
        if self._router.queue:
            self._note(self.follower.on_feed(self._router.queue.pop(0)))

    def _note(self, report: UsageReport | None) -> None:
        if report is None:
            return
        packets = report.columns.usage[:, 0].tolist()
        if report.columns.until is not None:
            self.ended += packets
            return
        (account,) = report.columns.account.tolist()
        assert account > len(self.ended), "told after its end"
        self.packets[account] = max(self.packets.get(account, 0), packets[0])


@given(st.lists(st.sampled_from(["use", "end", "tell", "lose", "read"]), max_size=60))
def test_whatever_is_lost_all_is_told_in_the_end(events: list[str]) -> None:
    router = Router()
    biller = Biller(router)
    for event in [*events, "tell"]:
        getattr(biller if event == "read" else router, event)()
    while router.queue or biller.follower.question() is not None:
        biller.read()
    assert biller.follower.complete
    assert biller.ended == router.finals
    assert biller.packets.get(len(router.finals) + 1, 0) == router.packets
