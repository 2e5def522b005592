"""The compiled forwarder alone; the other tests show that it equals the numpy steps."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import pytest

from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outcome import Outcome
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import worlds
from tests.pipeline.built import tables
from tests.pipeline.machine import CHUNK, HEADROOM, NAMES, SparePool
from tests.pipeline.packets import ether, ipv4, tunnelled

RULES = TunnelRules(tep6=worlds.world().rules.tep6, tep4=worlds.TEP4)


class NoSteps:
    """Stands for the numpy steps where none may be needed."""

    def process(self, *_: Any) -> NoReturn:
        pytest.fail("left to the numpy steps")

    def unbound(self, _now_s: float) -> None:
        """There are no errors."""


class DroppingSteps:
    """Notes which frames are left, and drops them."""

    def __init__(self) -> None:
        self.at: list[int] = []

    def process(self, at: Any, _length: Any, _port: int, _now_s: int) -> Outcome:
        self.at += at.tolist()
        return Outcome(np.full(len(at), Verdict.DROP_NOT_POOL, np.uint8))

    def unbound(self, _now_s: float) -> None:
        """There are no errors."""


def laid_out(frames: list[bytes], spare: int = 3000) -> tuple[bytearray, Any, Any]:
    memory = bytearray((len(frames) + spare + 2) * CHUNK)
    at = np.arange(len(frames), dtype=np.int64) * CHUNK + HEADROOM
    for start, frame in zip(at.tolist(), frames, strict=True):
        memory[start : start + len(frame)] = frame
    return memory, at, np.array([len(frame) for frame in frames], np.int64)


def burst_of(frames: list[bytes], steps: Any) -> tuple[CompiledForwarder, Any, Any]:
    memory, at, length = laid_out(frames, 0)
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
    assert outcome.octets == length.sum()


def test_what_is_left_comes_back_at_its_place() -> None:
    steps = DroppingSteps()
    kinds = [ether(ipv4()), ether(ipv4(dst="192.0.2.77")), tunnelled()]
    forwarder, at, length = burst_of(kinds * 4, steps)
    outcome = forwarder.process(at, length, worlds.ACCESS, worlds.NOW_S)
    names = [NAMES[number] for number in outcome.verdicts.tolist()]
    assert names == ["ENCAPSULATED", "DROP_NOT_POOL", "DECAPSULATED"] * 4
    assert steps.at == at[1::3].tolist()
    assert outcome.octets == length.sum()
    rows = {send.port: send.rows.tolist() for send in outcome.sends}
    assert rows == {worlds.ACCESS: [0, 3, 6, 9], worlds.INTERNET: [2, 5, 8, 11]}


def test_the_second_of_each_burst_counts() -> None:
    """The pass keeps it between calls: here for a binding that ends."""
    steps = DroppingSteps()
    forwarder, at, length = burst_of([ether(ipv4(dst=worlds.leased(2)))] * 3, steps)
    for n, now_s in enumerate((worlds.NOW_S, worlds.NOW_S + 0.99, worlds.NOW_S + 1.0)):
        forwarder.process(at[n : n + 1], length[n : n + 1], worlds.INTERNET, now_s)
    assert steps.at == at[2:].tolist()


def test_the_port_of_each_burst_counts() -> None:
    """The pass keeps its VLAN between calls."""
    steps = DroppingSteps()
    forwarder, at, length = burst_of([ether(ipv4()), ether(ipv4(), 77)] * 2, steps)
    for port, first in ((worlds.INTERNET, 0), (worlds.TAGGED, 2)):
        part = slice(first, first + 2)
        forwarder.process(at[part], length[part], port, worlds.NOW_S)
    assert steps.at == at[[1, 2]].tolist()


def test_packets_to_nobody_are_the_steps_until_all_errors_of_a_tick_are_sent() -> None:
    found: dict[str, list[tuple[int, int]]] = {}
    for engine in ("numpy", "compiled"):
        frames = [
            ether(ipv4(f"{n % 80 + 16}.{n // 80}.1.1", worlds.leased(200))) for n in range(2000)
        ]
        frames[7] = ether(ipv4())
        memory, at, length = laid_out(frames)
        pool = SparePool(len(frames), 3000)
        steps = Forwarder(FrameMemory(memory), tables(worlds.world()), RULES, pool)
        seen: Any = steps
        if engine == "compiled":
            seen = CompiledForwarder(memory, tables(worlds.world()), RULES, steps)
        counts = found[engine] = []
        for now_s in (5, 5, 5.01, 6):
            memory[:] = laid_out(frames)[0]
            outcome = seen.process(at, length, worlds.INTERNET, now_s)
            assert outcome.verdicts[7] == Verdict.ENCAPSULATED
            assert np.count_nonzero(outcome.verdicts == Verdict.DROP_NO_BINDING) == 1999
            assert [send.rows.tolist() for send in outcome.sends] == [[7]]
            made = sum(len(made.at) for made in outcome.made)
            unsent = sum(noted.packets for noted in outcome.noted)
            counts.append((made, unsent))
    assert found["compiled"] == found["numpy"]
    assert [sum(each) for each in found["numpy"]] == [1999] * 4
    assert found["numpy"][2][0] == 0
    assert found["numpy"][3][0] > 0


def test_no_frames_are_no_work() -> None:
    steps = DroppingSteps()
    forwarder, at, length = burst_of([], steps)
    assert len(forwarder.process(at, length, worlds.ACCESS, 0).verdicts) == 0
