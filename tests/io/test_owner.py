from __future__ import annotations

from contextlib import ExitStack

import pytest

from dstmrouter.io.owner import Owner


class Counted(Owner):
    def __init__(self) -> None:
        self._undo = ExitStack()
        self.closed = 0
        self._undo.callback(self._close)

    def _close(self) -> None:
        self.closed += 1


def test_everything_is_let_go_once_behind_the_block() -> None:
    with Counted() as owner:
        assert owner.closed == 0
    assert owner.closed == 1
    owner.close()
    assert owner.closed == 1


def test_an_error_of_the_block_lets_go_and_goes_on() -> None:
    owner = Counted()
    with pytest.raises(ValueError, match="mine"), owner:
        raise ValueError("mine")
    assert owner.closed == 1
