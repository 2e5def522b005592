from __future__ import annotations

import errno

import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io.patience import while_busy


def test_busy_is_tried_again_until_it_works() -> None:
    answers = [SystemCallError("bind", errno.EBUSY, "busy")] * 3

    def attempt() -> str:
        if answers:
            raise answers.pop()
        return "bound"

    assert while_busy(attempt) == "bound"
    assert answers == []


@pytest.mark.parametrize(("number", "patience_s"), [(errno.EBUSY, 0.0), (errno.EPERM, 1.0)])
def test_other_errors_and_the_end_of_patience_are_told(number: int, patience_s: float) -> None:
    attempts = []

    def attempt() -> None:
        attempts.append(1)
        raise SystemCallError("bind", number, "no")

    with pytest.raises(SystemCallError, match="bind: no"):
        while_busy(attempt, patience_s)
    assert len(attempts) == 1
