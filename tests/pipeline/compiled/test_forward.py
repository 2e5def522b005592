"""The compiled forwarder alone; the other tests show that it equals the numpy steps."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import pytest

from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.outcome import Outcome
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import worlds
from tests.pipeline.built import tables
from tests.pipeline.machine import CHUNK, HEADROOM, NAMES
from tests.pipeline.packets import ether, ipv4, tunnelled

RULES = TunnelRules(tep6=worlds.world().rules.tep6, tep4=worlds.TEP4)


class NoSteps:
    """Stands for the numpy steps where none may be needed."""

    def process(self, *_: Any) -> NoReturn:
        pytest.fail("left to the numpy steps")


class DroppingSteps:
    """Notes which frames are left, and drops them."""

    def __init__(self) -> None:
        self.at: list[int] = []

    def process(self, at: Any, _length: Any, _port: int, _now_s: int) -> Outcome:
        self.at += at.tolist()
        return Outcome(np.full(len(at), Verdict.DROP_NO_BINDING, np.uint8))


def burst_of(frames: list[bytes], steps: Any) -> tuple[CompiledForwarder, Any, Any]:
    memory = bytearray((len(frames) + 2) * CHUNK)
    at = np.arange(len(frames), dtype=np.int64) * CHUNK + HEADROOM
    for start, frame in zip(at.tolist(), frames, strict=True):
        memory[start : start + len(frame)] = frame
    length = np.array([len(frame) for frame in frames], np.int64)
    forwarder = CompiledForwarder(memory, tables(worlds.world()), RULES, steps)
    return forwarder, at, length


@pytest.mark.parametrize("size", [1, 1024, 1025, 3000])
def test_normal_bursts_of_any_size_need_no_numpy(size: int) -> None:
    forwarder, at, length = burst_of([ether(ipv4())] * size, NoSteps())
    outcome = forwarder.process(at, length, worlds.INTERNET, worlds.NOW_S)
    assert outcome.verdicts.tolist() == [Verdict.ENCAPSULATED] * size
    (send,) = outcome.sends
    assert (send.port, len(send.rows)) == (worlds.ACCESS, size)
    assert send.rows.tolist() == [*range(size)]
    assert set(send.length - length) == {40}


def test_what_is_left_comes_back_at_its_place() -> None:
    steps = DroppingSteps()
    kinds = [ether(ipv4()), ether(ipv4(dst=worlds.leased(200))), tunnelled()]
    forwarder, at, length = burst_of(kinds * 4, steps)
    outcome = forwarder.process(at, length, worlds.ACCESS, worlds.NOW_S)
    names = [NAMES[number] for number in outcome.verdicts.tolist()]
    assert names == ["ENCAPSULATED", "DROP_NO_BINDING", "DECAPSULATED"] * 4
    assert steps.at == at[1::3].tolist()
    rows = {send.port: send.rows.tolist() for send in outcome.sends}
    assert rows == {worlds.ACCESS: [0, 3, 6, 9], worlds.INTERNET: [2, 5, 8, 11]}


def test_no_frames_are_no_work() -> None:
    steps = DroppingSteps()
    forwarder, at, length = burst_of([], steps)
    assert len(forwarder.process(at, length, worlds.ACCESS, 0).verdicts) == 0
