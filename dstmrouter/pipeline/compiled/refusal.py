"""Packets that nobody is bound to, compiled: those about which no error is sent end here.

That is what the numpy steps say of nearly all packets of a flood (`refusals`, `errors4`, `limits`):
there are few tokens. What may get one is left to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.jit.functions import NONE, WORD, Truth, U, field_at, inlined
from dstmrouter.jit.pointers import load8, load64
from dstmrouter.pipeline import limits
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.compiled import packet
from dstmrouter.pipeline.compiled.departure import KIND_AT
from dstmrouter.pipeline.compiled.views import ALL, REFUSALS
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np

    from dstmrouter.pipeline.compiled.views import Burst

_UNBOUND: Final = U(RowKind.UNBOUND)
_ENCAPSULATED: Final = U(Verdict.ENCAPSULATED)
WHICH, COUNT, UNSENT, _NOW, _EMPTY, _STEP, _KEY, _MIX, _HOST_BITS = (
    field_at(REFUSALS, name) for name in REFUSALS.names or ()
)
_ALL: Final = U(ALL)
_32, _SHIFT, _SIGN = U(32), U(limits.SHIFT), U(63)


@inlined
def has_token(record: np.uint64, address: np.uint64) -> Truth:
    """R26: whether the bucket of an address may have a token, as `limits.Limiter.chance` finds."""
    prefix = address >> load64(record + _HOST_BITS)
    key = load64(record + _KEY)
    mixed = (prefix ^ load64(record + _MIX)) * key
    mixed = (mixed ^ mixed >> _32) * key
    empty = load64(load64(record + _EMPTY) + (mixed >> _SHIFT) * WORD)
    lacking = load64(record + _NOW) - empty - load64(record + _STEP)  # signed, in an unsigned word
    token: Truth = lacking >> _SIGN == NONE
    return token


@inlined
def is_refused(burst: Burst, i: np.uint64, which: np.uint64) -> Truth:
    """R3: whether packet `i` is from the Internet, to nobody, and nothing else is to be done.

    It was not forwarded; `which` is that of the record.
    """
    inner_at = load64(burst.inner_at + i * WORD)
    if not inner_at or load8(burst.verdict + i) != _ENCAPSULATED:
        return False
    if load8(load64(burst.row + i * WORD) + KIND_AT) != _UNBOUND:
        return False
    src = packet.address_at(inner_at + packet.SRC_AT)
    return not packet.is_martian(src) and (which == _ALL or not has_token(burst.refusals, src))
