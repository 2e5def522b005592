from __future__ import annotations

import random
from collections import Counter

import pytest

from dstmrouter.errors import DecodeError
from dstmrouter.protocols import dstm_rpc, oncrpc
from tests.fuzz.mutation import LONGEST, mutated
from tests.fuzz.rpc_targets import CALLS, TARGETS
from tests.fuzz.target import FuzzError, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_short_run(target: Target) -> None:
    target.run(1_000, seed=1)


def test_an_input_that_is_not_handled_is_shown() -> None:
    def brittle(octets: bytes) -> None:
        assert octets[1] == 0, "second octet"

    with pytest.raises(FuzzError, match=r"brittle: 00.*: (AssertionError: second|IndexError)"):
        Target("brittle", [bytes(8)], brittle).run(1_000, seed=1)


def test_inputs_are_near_enough_to_get_through_and_far_enough_not_to() -> None:
    dice = random.Random(1)
    outcomes: Counter[str] = Counter()
    for _ in range(2_000):
        try:
            call = oncrpc.decode_call(mutated(CALLS[1], dice))
            dstm_rpc.AllocateArgs.decode(call.arguments)
        except DecodeError as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["decoded"] += 1
    assert min(outcomes[kind] for kind in ("decoded", "DecodeError", "CallDeniedError")) > 50


def test_changes_of_an_input_end() -> None:
    dice = random.Random(1)
    octets = bytes(LONGEST)
    for _ in range(100):
        octets = mutated(octets + bytes(100), dice)
        assert len(octets) <= LONGEST
    assert mutated(b"", dice) == b""


def test_the_same_seed_gives_the_same_inputs() -> None:
    seen: list[list[bytes]] = [[], [], []]
    for run, seed in enumerate((1, 1, 2)):
        Target("seen", CALLS, seen[run].append).run(50, seed)
    assert seen[0] == seen[1] != seen[2]
