"""Path MTUs of clients, compiled: as `dstmrouter.pipeline.pathmtu` looks them up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, compiled, inlined, span
from dstmrouter.jit.pointers import load64
from dstmrouter.pipeline import pathmtu

if TYPE_CHECKING:
    import numpy as np

    from dstmrouter.pipeline.compiled.views import World

_LEAST_MTU: Final = U(pathmtu.LEAST_MTU)
_AGE, _UNKNOWN, _WAYS = (U(n) for n in (pathmtu.AGE_S, pathmtu.UNKNOWN, pathmtu.WAYS))
_NEWEST_AT: Final = U(16)  # octets
_32: Final = U(32)
_SET_SHIFT: Final = U(64 - pathmtu.SET_BITS)
_TAG_FROM: Final = U(64 - pathmtu.SET_BITS - pathmtu.TAG_BITS)
_TAG_SHIFT, _MTU_SHIFT = U(pathmtu.MTU_BITS + pathmtu.TIME_BITS), U(pathmtu.TIME_BITS)
_TAG, _MTU, _TIME = (
    U((1 << bits) - 1) for bits in (pathmtu.TAG_BITS, pathmtu.MTU_BITS, pathmtu.TIME_BITS)
)


@inlined
def any_known(world: World, now_s: np.uint64) -> Truth:
    """Whether anything may have been learnt that still counts."""
    newest = load64(world.path_mtus + _NEWEST_AT)
    return newest != NONE and now_s < newest - ONE + _AGE


@compiled
def look_up(world: World, low: np.uint64, high: np.uint64, now_s: np.uint64) -> np.uint64:
    """The path MTU of the client whose address is two wire words; a huge one if none is known."""
    first, second = load64(world.path_mtus), load64(world.path_mtus + WORD)
    hashed = low * first
    hashed = (hashed ^ hashed >> _32) + high
    hashed *= second
    hashed = (hashed ^ hashed >> _32) * first
    entries = world.path_mtu_entries + (hashed >> _SET_SHIFT) * _WAYS * WORD
    tag, least = hashed >> _TAG_FROM & _TAG, _UNKNOWN
    for way in span(NONE, _WAYS):
        entry = load64(entries + way * WORD)
        fresh = entry != NONE and now_s - entry & _TIME < _AGE
        if fresh and entry >> _TAG_SHIFT == tag:
            least = min(least, entry >> _MTU_SHIFT & _MTU)
    return least


@inlined
def fits(world: World, row: np.uint64, total_len: np.uint64, now_s: np.uint64) -> Truth:
    """R17, R21: whether a packet fits the tunnel of the client of `row` whole."""
    if total_len > world.largest:
        return False
    outer_len = total_len + world.overhead
    if outer_len <= _LEAST_MTU or not any_known(world, now_s):
        return True
    return outer_len <= look_up(world, load64(row), load64(row + WORD), now_s)
