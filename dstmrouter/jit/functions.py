"""The one way in which functions are compiled here, and their numbers.

A compiled function takes and gives uint64 only (`U`), positions being addresses (`pointers`); the
entry points called from Python may also take arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

import numpy as np
from numba import config, njit

from dstmrouter.jit import cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

U: Final = np.uint64
NONE, ONE, WORD = U(0), U(1), U(8)  # WORD: octets
Truth: TypeAlias = "bool | np.bool_"
F = TypeVar("F", bound="Callable[..., object]")

_KEPT_IN: Final = cache.directory()
config.CACHE_DIR = str(_KEPT_IN or "")  # read when a function is decorated


def compiled(function: F) -> F:
    """Compile a function of numbers when it is first called, and keep the code if possible."""
    keep = _KEPT_IN is not None
    return cast("F", njit(cache=keep, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile a function into each of its callers, however large it is.

    For what runs once a packet and takes `World` or `Burst`: a call passes tuples on the stack, all
    of their words.
    """
    keep = _KEPT_IN is not None
    options = {"cache": keep, "nogil": True, "error_model": "numpy", "forceinline": True}
    return cast("F", njit(**options)(function))


span: Final = cast("Callable[[np.uint64, np.uint64], Iterable[np.uint64]]", range)
"""Numbers from one up to another, typed as compiled code has them."""


def address(array: npt.NDArray[np.generic]) -> np.uint64:
    """Where the first octet of a contiguous array is; the caller keeps the array."""
    assert array.flags.c_contiguous
    return U(array.ctypes.data)


def field_at(dtype: np.dtype[np.void], field: str) -> np.uint64:
    """Octets from the start of a record to one of its fields."""
    assert dtype.fields is not None
    return U(dtype.fields[field][1])
