from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.io.framestack import FrameStack


@given(st.integers(1, 8), st.lists(st.tuples(st.booleans(), st.integers(0, 10)), max_size=30))
def test_equals_a_bounded_list(capacity: int, steps: list[tuple[bool, int]]) -> None:
    stack, model, number = FrameStack(capacity), list[int](), 0
    for putting, n in steps:
        if putting:
            addrs = np.arange(number, number + n, dtype=np.uint64)
            number += n
            fit = min(n, capacity - len(model))
            assert stack.put(addrs) == fit
            model += addrs[:fit].tolist()
        else:
            taken = stack.take(n)
            cut = len(model) - min(n, len(model))
            assert taken.tolist() == model[cut:]
            del model[cut:]
        assert (len(stack), stack.room) == (len(model), capacity - len(model))


def test_what_was_taken_is_a_copy() -> None:
    stack = FrameStack(2)
    stack.put(np.array([1, 2], np.uint64))
    taken = stack.take(2)
    stack.put(np.array([8, 9], np.uint64))
    assert taken.tolist() == [1, 2]
