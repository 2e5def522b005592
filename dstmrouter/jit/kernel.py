"""The kernel for compiled code: system calls and its clock, without Python in between.

For x86-64 Linux only, as the rings are (`io.ring`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Call: TypeAlias = "Callable[[np.uint64, np.uint64, np.uint64, np.uint64], np.uint64]"
    Clock: TypeAlias = "Callable[[], np.uint64]"

_WORD, _INT = ir.IntType(64), ir.IntType(32)
_NS: Final = 1_000_000_000
_CLOCK_MONOTONIC: Final = 1  # linux/time.h

binding.initialize_native_asmparser()  # Numba does without


def _system_call() -> Call:
    """System V ABI for AMD64, appendix A.2.1: registers of the kernel's calling convention."""
    kind = ir.FunctionType(_WORD, [_WORD] * 4)
    registers = "={rax},{rax},{rdi},{rsi},{rdx},~{rcx},~{r11},~{memory}"

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return builder.asm(kind, "syscall", registers, args, side_effect=True)

    words = types.uint64(*[types.uint64] * 4)
    return cast("Call", intrinsic(lambda context, number, a, b, c: (words, generate)))


def _monotonic_ns() -> Clock:
    """clock_gettime(2) of the C library, which asks the vDSO: 25 ns."""
    moment = ir.LiteralStructType([_WORD, _WORD])  # struct timespec
    kind = ir.FunctionType(_INT, [_INT, moment.as_pointer()])

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, _args: Any) -> ir.Value:
        clock_gettime = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        place = cgutils.alloca_once(builder, moment)
        builder.call(clock_gettime, [_INT(_CLOCK_MONOTONIC), place])
        seconds, ns = (
            builder.load(builder.gep(place, [_INT(0), _INT(field)])) for field in range(2)
        )
        return builder.add(builder.mul(seconds, _WORD(_NS)), ns)

    return cast("Clock", intrinsic(lambda context: (types.uint64(), generate)))


system_call = _system_call()
"""Make the system call of a number with three words. What it returns, as a word: a negative errno,
which is more than `ERRORS`, if it failed.
"""
monotonic_ns = _monotonic_ns()
"""As `time.monotonic_ns`."""
ERRORS: Final = (1 << 64) - 4096
