from __future__ import annotations

import errno
import os
import time

import numpy as np
from numba import njit

from dstmrouter.jit import kernel
from dstmrouter.jit.functions import address

U = np.uint64
SYS_WRITE = U(1)  # asm/unistd_64.h


@njit
def call(number: np.uint64, a: np.uint64, b: np.uint64, c: np.uint64) -> np.uint64:
    return kernel.system_call(number, a, b, c)


@njit
def now() -> np.uint64:
    return kernel.monotonic_ns()


def test_a_system_call_returns_what_the_kernel_does() -> None:
    text = np.frombuffer(b"written by compiled code", np.uint8)
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:
        with open(writer, "wb"):
            assert call(SYS_WRITE, U(writer), address(text), U(len(text))) == len(text)
        assert pipe.read() == text.tobytes()


def test_one_that_fails_returns_a_negative_errno() -> None:
    result = int(call(SYS_WRITE, U(1 << 30), U(0), U(0)))
    assert result > kernel.ERRORS
    assert 2**64 - result == errno.EBADF


def test_the_clock_is_that_of_python() -> None:
    before = time.monotonic_ns()
    between = int(now())
    assert before <= between <= time.monotonic_ns()
