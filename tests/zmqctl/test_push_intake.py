from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dstmrouter.errors import ControlError
from dstmrouter.zmqctl.messages import Failure, Push, Pushed
from dstmrouter.zmqctl.peer import Peer
from dstmrouter.zmqctl.push_intake import OPEN_MAX, QUEUE_MAX, PushIntake
from tests.zmqctl.samples import Table, puts, removes, run, until
from tests.zmqctl.sockets import running

if TYPE_CHECKING:
    from dstmrouter.binding import BindingColumns
    from dstmrouter.zmqctl.update import ApplyResult, BindingUpdate

PEER, OTHER = Peer((b"1",)), Peer((b"2",))


class Desk:
    """An intake over a table, with the answers it gave."""

    def __init__(self) -> None:
        self.table = Table()
        self.answers: list[Pushed | Failure] = []
        self.broken = False
        self.intake = PushIntake(self.apply, self.answer)

    async def apply(self, update: BindingUpdate) -> ApplyResult:
        if self.broken:
            raise ControlError("no worker lives")
        return await self.table.apply(update)

    async def answer(self, _peer: Peer, message: Pushed | Failure) -> None:
        self.answers.append(message)

    async def settled(self, count: int) -> list[str]:
        """Reasons of the refusals among the first `count` answers, or what was applied."""
        await until(lambda: len(self.answers) >= count)
        return [a.reason if isinstance(a, Failure) else str(a.applied) for a in self.answers]


def push(
    bindings: BindingColumns,
    *,
    replace: bool = False,
    part: int = 0,
    parts: int = 1,
    source: str = "s",
) -> Push:
    return Push(id=1, source=source, replace=replace, part=part, parts=parts, bindings=bindings)


def test_pushes_are_applied_in_order_and_answered() -> None:
    async def scenario() -> None:
        desk = Desk()
        async with running(desk.intake):
            await desk.intake.offer(PEER, push(puts(0, 3, client=1)))
            await desk.intake.offer(PEER, push(removes(0, 1)))
            await desk.intake.offer(PEER, push(puts(1, 2, client=2)))
            assert await desk.settled(3) == ["3", "1", "1"]
        assert desk.table.clients() == {1: 2, 2: 1}

    run(scenario())


def test_replacement_in_parts_removes_what_no_part_held() -> None:
    async def scenario() -> None:
        desk = Desk()
        async with running(desk.intake):
            await desk.intake.offer(PEER, push(puts(0, 9)))
            await desk.intake.offer(PEER, push(puts(0, 2), replace=True, part=0, parts=2))
            await desk.intake.offer(PEER, push(puts(5, 6), replace=True, part=1, parts=2))
            assert await desk.settled(3) == ["9", "2", "1"]
        assert set(desk.table.clients()) == {0, 1, 5}

    run(scenario())


def test_sources_do_not_touch_each_others_rows() -> None:
    async def scenario() -> None:
        desk = Desk()
        async with running(desk.intake):
            await desk.intake.offer(PEER, push(puts(0, 2, client=1), source="a"))
            await desk.intake.offer(PEER, push(puts(1, 3, client=2), source="b"))
            await desk.intake.offer(PEER, push(puts(9, 10), source="b", replace=True))
            await desk.settled(3)
        second = desk.answers[1]
        assert isinstance(second, Pushed)
        assert (second.applied, second.refused, second.reasons) == (1, 1, {"owned-by-other": 1})
        assert desk.table.clients() == {0: 1, 1: 1, 9: 1}

    run(scenario())


def test_parts_out_of_order_are_refused() -> None:
    async def scenario() -> None:
        desk = Desk()
        async with running(desk.intake):
            for peer, part, parts in (
                (PEER, 1, 3),  # nothing begun
                (PEER, 0, 3),
                (OTHER, 1, 3),  # begun by another
                (PEER, 2, 3),  # one is missing
                (PEER, 1, 4),  # another number of parts
                (PEER, 1, 3),
                (PEER, 2, 3),
                (PEER, 2, 3),  # over
            ):
                message = push(puts(part, part + 1), replace=True, part=part, parts=parts)
                await desk.intake.offer(peer, message)
            await desk.settled(8)
        refused = [isinstance(answer, Failure) for answer in desk.answers]
        assert desk.intake.counters == {"out-of-order": 5, "applied": 3}
        assert refused.count(True) == 5
        assert set(desk.table.clients()) == {0, 1, 2}

    run(scenario())


def test_key_may_push_for_its_own_name_only() -> None:
    async def scenario() -> None:
        desk = Desk()
        async with running(desk.intake):
            await desk.intake.offer(Peer((b"1",), "radius"), push(puts(0, 1), source="dhcp"))
            await desk.intake.offer(Peer((b"1",), "radius"), push(puts(0, 1), source="radius"))
            assert await desk.settled(2) == ["not-yours", "1"]

    run(scenario())


def test_queue_is_short_and_whoever_comes_too_fast_is_told() -> None:
    async def scenario() -> None:
        desk = Desk()
        desk.table.gate.clear()
        async with running(desk.intake):
            for _ in range(QUEUE_MAX + 3):
                await desk.intake.offer(PEER, push(puts(0, 1)))
            await asyncio.sleep(0)
            assert desk.intake.counters["busy"] >= 2
            desk.table.gate.set()
            reasons = await desk.settled(QUEUE_MAX + 3)
        assert reasons.count("busy") == desk.intake.counters["busy"]

    run(scenario())


def test_push_that_cannot_be_applied_is_refused_and_its_replacement_ends() -> None:
    async def scenario() -> None:
        desk = Desk()
        desk.broken = True
        async with running(desk.intake):
            await desk.intake.offer(PEER, push(puts(0, 1), replace=True, part=0, parts=2))
            assert await desk.settled(1) == ["refused"]
            desk.broken = False
            await desk.intake.offer(PEER, push(puts(1, 2), replace=True, part=1, parts=2))
            assert (await desk.settled(2))[1] == "out-of-order"

    run(scenario())


def test_unfinished_replacements_do_not_fill_the_memory() -> None:
    async def scenario() -> None:
        desk = Desk()
        async with running(desk.intake):
            for number in range(OPEN_MAX + 1):
                begin = push(puts(0, 0), replace=True, parts=2, source=f"s{number}")
                await desk.intake.offer(PEER, begin)
                await desk.settled(number + 1)
            assert len(desk.intake._open) == OPEN_MAX
            late = push(puts(0, 0), replace=True, part=1, parts=2, source="s0")
            await desk.intake.offer(PEER, late)
            assert (await desk.settled(OPEN_MAX + 2))[-1] == "out-of-order"

    run(scenario())
