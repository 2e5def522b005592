from __future__ import annotations

import asyncio

from dstmrouter.zmqctl.messages import Ack, Alive
from dstmrouter.zmqctl.roster import ROUTERS_MAX, RouterRoster
from tests.zmqctl.samples import run

EPOCH = b"e" * 16


def ack(router: str, generation: int, epoch: bytes = EPOCH, refused: int = 0) -> Ack:
    return Ack(
        router=router, epoch=epoch, generation=generation, applied=1, refused=refused, rows=5
    )


def alive(router: str, generation: int, epoch: bytes = EPOCH) -> Alive:
    return Alive(router=router, epoch=epoch, generation=generation, rows=5, refused=2)


def generations(roster: RouterRoster) -> dict[str, int]:
    return {state.name: state.generation for state in roster.states(0.0)}


def test_waits_until_all_have_acknowledged() -> None:
    async def scenario() -> set[str]:
        roster = RouterRoster(EPOCH)
        waiting = asyncio.create_task(roster.wait_acked(3, ["r1", "r2"], 20.0))
        await asyncio.sleep(0)
        roster.acked(ack("r1", 3), 0.0)
        roster.acked(ack("r2", 2), 0.0)
        await asyncio.sleep(0)
        assert not waiting.done()
        roster.acked(ack("r2", 4), 0.0)
        return await waiting

    assert run(scenario()) == set()


def test_says_who_is_missing_when_time_is_up() -> None:
    async def scenario() -> set[str]:
        roster = RouterRoster(EPOCH)
        roster.acked(ack("r1", 9), 0.0)
        return await roster.wait_acked(3, ["r1", "r2"], 0.01)

    assert run(scenario()) == {"r2"}


def test_what_is_acknowledged_already_needs_no_waiting() -> None:
    roster = RouterRoster(EPOCH)
    roster.acked(ack("r1", 3), 0.0)
    assert run(roster.wait_acked(3, ["r1"], 0.0)) == set()
    assert run(roster.wait_acked(3, [], 0.0)) == set()


def test_acknowledgement_of_another_run_counts_for_nothing() -> None:
    roster = RouterRoster(EPOCH)
    roster.acked(ack("r1", 99, epoch=b"f" * 16), 0.0)
    assert generations(roster) == {"r1": -1}


def test_sign_of_life_stands_for_a_lost_acknowledgement() -> None:
    roster = RouterRoster(EPOCH)
    roster.alive(alive("r1", 4), 0.0)
    assert run(roster.wait_acked(4, ["r1"], 0.0)) == set()


def test_router_that_restarted_has_nothing() -> None:
    roster = RouterRoster(EPOCH)
    roster.acked(ack("r1", 4), 0.0)
    roster.alive(alive("r1", 0, epoch=b""), 1.0)
    assert generations(roster) == {"r1": -1}


def test_refused_rows_and_silence_are_told() -> None:
    roster = RouterRoster(EPOCH)
    roster.acked(ack("r1", 1, refused=3), 10.0)
    roster.acked(ack("r1", 2, refused=1), 11.0)
    (state,) = roster.states(12.5)
    assert (state.refused, state.heard_s, state.rows) == (4, 1.5, 5)
    assert state.as_dict()["heard_s"] == 1.5


def test_strangers_names_do_not_fill_the_memory() -> None:
    roster = RouterRoster(EPOCH)
    for number in range(ROUTERS_MAX + 10):
        roster.alive(alive(f"r{number}", 0), float(number))
    names = {state.name for state in roster.states(0.0)}
    assert len(names) == ROUTERS_MAX
    assert "r9" not in names
    assert "r10" in names
