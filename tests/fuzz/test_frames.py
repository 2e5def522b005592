from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pytest

from dstmrouter.pipeline.outcome import Outcome, Send
from dstmrouter.pipeline.verdict import Verdict
from tests.fuzz import frames
from tests.fuzz.frame_targets import TARGETS, FrameTarget, Router
from tests.fuzz.target import FuzzError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dstmrouter.daemon.engine import Steps

pytestmark = pytest.mark.usefixtures("untraced")

INPUTS: Final = 40_000
NOT_IN_THE_PACKET: Final = (  # what rules, limits and rings bring about
    "DROP_TX_FULL",
    "DROP_FILTER_IN",
    "DROP_FILTER_OUT",
    "DROP_NO_FRAME",
    "DROP_CUT_BUDGET",
    "DROP_PIECE_LIMIT",
    "DROP_PIECE_TIMEOUT",
    "SENT_PIECE_TIMEOUT",
    "DROP_PIECE_ECN",
    "DROP_HAIRPIN_OFF",
    "DROP_ICMPV6_FLOOD",
    "DROP_FRAGMENT_FLOOD",
    "SENT_PROHIBITED",
    "UNSENT_ICMPV4",
    "UNSENT_ICMPV6",
    "DROP_FILTER_IN",
    "DROP_FILTER_OUT",
    "DROP_NO_FRAME",
    "DROP_CUT_BUDGET",
    "DROP_FRAGMENT_FLOOD",
    "DROP_FRAGMENT_SHARED",
    "DROP_PIECE_BUDGET",
    "DROP_PIECE_LIMIT",
    "DROP_PIECE_EVICTED",
    "DROP_PIECE_TIMEOUT",
    "DROP_PIECE_DUPLICATE",
    "DROP_PIECE_ECN",
    "DROP_PIECE_LARGE",
    "SENT_PIECE_TIMEOUT",
)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_short_run_comes_to_every_verdict(target: FrameTarget) -> None:
    found = target.fed(INPUTS, seed=1).verdicts()
    never = {verdict.name for verdict, packets in found.items() if not packets}
    assert never <= set(NOT_IN_THE_PACKET)


def test_both_engines_count_the_same() -> None:
    numpy, compiled = (target.fed(INPUTS, seed=2).verdicts() for target in TARGETS)
    assert numpy == compiled


def test_the_same_seed_gives_the_same_frames() -> None:
    def made(seed: int) -> list[bytes]:
        stock = frames.Stock.build(random.Random(seed), 50)
        fast = np.random.default_rng(seed)
        return [part.tobytes() for _ in range(5) for part in frames.burst(stock, fast)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_repaired_headers_are_right() -> None:
    stock = frames.Stock.build(random.Random(1), 200)
    known = np.flatnonzero(stock.ipv4_at != frames.NO_IPV4)
    before = stock.octets.copy()
    stock.octets[known, stock.ipv4_at[known] + 10] ^= 0xFF
    frames._repair(stock.octets, stock.ipv4_at, known)
    right = (stock.octets == before).all(axis=1)
    assert right[known].mean() > 0.95  # some checksums were wrong on purpose


Fault: TypeAlias = "Callable[[Router, npt.NDArray[np.int64], Outcome], None]"


class Broken:
    """Steps with a fault."""

    engine = "broken"

    def __init__(self, router: Router, steps: Steps, fault: Fault) -> None:
        self._router, self._steps, self._fault = router, steps, fault

    def process(
        self, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> Outcome:
        outcome = self._steps.process(at, length, port, now_s)
        self._fault(self._router, at, outcome)
        return outcome

    def expire(self, now_s: float) -> Outcome:
        return self._steps.expire(now_s)

    def held(self) -> int:
        return self._steps.held()


def writes(distance: int) -> Fault:
    def fault(router: Router, at: npt.NDArray[np.int64], _outcome: Outcome) -> None:
        router.umem.memory[int(at[0]) + distance] ^= 1

    return fault


def writes_behind(router: Router, _at: npt.NDArray[np.int64], _outcome: Outcome) -> None:
    router.umem.memory[router.umem.size] ^= 1


def loses(_router: Router, _at: npt.NDArray[np.int64], outcome: Outcome) -> None:
    outcome.verdicts[0] = Verdict.ENCAPSULATED
    outcome.sends.clear()


def sends_twice(_router: Router, _at: npt.NDArray[np.int64], outcome: Outcome) -> None:
    outcome.sends += [Send(s.port, s.rows, s.at, s.length) for s in outcome.sends]


def sends_too_much(_router: Router, _at: npt.NDArray[np.int64], outcome: Outcome) -> None:
    for send in outcome.sends:
        send.length = send.length + 1


def breaks(_router: Router, _at: npt.NDArray[np.int64], _outcome: Outcome) -> None:
    raise IndexError


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (writes(-63), "octet 193 of chunk .* was written"),
        (writes(1700), "octet 1956 of chunk .* was written"),
        (writes(-256 - 2048), "octet 0 of chunk .* was written"),
        (writes_behind, "octets behind the last chunk"),
        (loses, "sent and forwarded differ"),
        (sends_twice, "sent and forwarded differ"),
        (sends_too_much, "payload length|total length"),
        (breaks, "IndexError"),
    ],
)
def test_a_fault_is_noticed(fault: Fault, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Router.__init__

    def broken(router: Router, engine: str) -> None:
        build(router, engine)
        router.watched._steps = Broken(router, router.watched._steps, fault)

    monkeypatch.setattr(Router, "__init__", broken)
    with pytest.raises(FuzzError, match=f"frames-numpy: burst [0-9]+ .*{problem}"):
        TARGETS[0].run(20_000, seed=1)
