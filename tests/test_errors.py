from __future__ import annotations

import os

import pytest

from dstmrouter.errors import SystemCallError, asking_kernel


def test_errors_say_what_was_tried_and_what_the_kernel_answered() -> None:
    with (
        pytest.raises(SystemCallError, match=r"^duplicate eth1: Bad file descriptor$") as caught,
        asking_kernel("duplicate eth1"),
    ):
        os.dup(-1)
    assert caught.value.errno == 9
