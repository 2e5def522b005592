"""Settling what the pass has worked on; that it counts the right things, tests/pipeline shows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.compiled.usage import CompiledCharges
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.usage import UsageTable
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import worlds
from tests.pipeline.built import tables
from tests.pipeline.compiled.test_forward import DroppingSteps
from tests.pipeline.machine import CHUNK, HEADROOM
from tests.pipeline.packets import ether, ipv4, tunnelled
from tests.pipeline.usages import counted

if TYPE_CHECKING:
    from dstmrouter.pipeline.outcome import Outcome, Tables

WORLD = worlds.world()
RULES = TunnelRules(tep6=WORLD.rules.tep6, tep4=worlds.TEP4)
OCTETS = len(ipv4())
KINDS = [ether(ipv4()), ether(ipv4(dst=worlds.leased(200))), tunnelled(dst=worlds.leased(3))]


def forwarded(shared: Tables, frames: list[bytes], worker: int = 0) -> Outcome:
    """What a pass without numpy steps makes of a burst while usage is counted."""
    memory = bytearray((len(frames) + 2) * CHUNK)
    at = np.arange(len(frames), dtype=np.int64) * CHUNK + HEADROOM
    for start, frame in zip(at.tolist(), frames, strict=True):
        memory[start : start + len(frame)] = frame
    length = np.array([len(frame) for frame in frames], np.int64)
    shared.usage.turn(on=True)
    steps = DroppingSteps()
    forwarder = CompiledForwarder(memory, shared, RULES, steps, worker)  # type: ignore[arg-type]
    return forwarder.process(at, length, worlds.ACCESS, worlds.NOW_S)


@pytest.mark.parametrize("times", [1, 5, 6, 40])
def test_what_was_left_or_lost_is_not_counted(times: int) -> None:
    shared = tables(WORLD)
    outcome = forwarded(shared, KINDS * times)
    outcome.verdicts[0] = Verdict.DROP_TX_FULL
    (charge,) = outcome.charges
    charge.settle(shared.usage.values[0], outcome.verdicts)
    one, three = (worlds.leased(1), None), (worlds.leased(3), None)
    assert counted(WORLD, shared) == +Counter(
        {
            (*one, "packets_to_client"): times - 1,
            (*one, "octets_to_client"): (times - 1) * OCTETS,
            (*one, "packets_from_client"): times,
            (*one, "octets_from_client"): times * OCTETS,
            (*three, "packets_to_client"): times,
            (*three, "octets_to_client"): times * OCTETS,
        }
    )


def test_a_charge_follows_its_frames_into_a_larger_burst() -> None:
    shared = tables(WORLD)
    outcome = forwarded(shared, KINDS)
    around = np.full(9, Verdict.DROP_FILTER_IN, np.uint8)
    around[[2, 4, 7]] = [Verdict.ENCAPSULATED, Verdict.DROP_NO_BINDING, Verdict.DROP_FILTER_OUT]
    (charge,) = outcome.charges
    assert isinstance(charge, CompiledCharges)
    moved = charge.moved(np.array([0, 1, 2])).moved(np.array([2, 4, 7]))
    moved.settle(shared.usage.values[0], around)
    assert shared.usage.values.sum(axis=(0, 1)).tolist() == [1, OCTETS, 0, 0]


def test_each_worker_writes_its_own_line() -> None:
    shared = tables(WORLD)
    rows = len(shared.bindings.rows)
    usage = UsageTable(bytearray(UsageTable.size(3, rows)), 3, rows)
    outcome = forwarded(dataclasses.replace(shared, usage=usage), KINDS, worker=1)
    outcome.charges[0].settle(usage.values[1], outcome.verdicts)
    assert usage.values.any(axis=(1, 2)).tolist() == [False, True, False]
