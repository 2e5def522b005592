"""Identifications of IPv6 fragments: unpredictable, and not used again for long (RFC 7739).

A counter, enciphered: a Feistel network of four rounds maps the numbers of 32 bits onto themselves,
and its round functions are tables of random numbers, drawn anew at every start of a worker. So no
identification comes twice before the counter has gone round, and nobody can tell the next one, not
even who receives all others. Each worker counts in a part of the numbers of its own: with 64 of
them, one that fragments a million packets a second uses none again for 67 seconds.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.rules import WorkerIdentity

_ROUNDS: Final = 4
_HALF: Final = np.uint32(16)
_LOWER: Final = np.uint32(0xFFFF)
_BITS: Final = 32


class FragmentIds:
    """Draws identifications for one worker."""

    def __init__(self, identity: WorkerIdentity) -> None:
        octets = hashlib.shake_256(identity.seed).digest(_ROUNDS * (2 << 16))
        self._rounds = np.frombuffer(octets, "<u2").reshape(_ROUNDS, 1 << 16).astype(np.uint32)
        self._own_bits = _BITS - (identity.workers - 1).bit_length()
        self._first = identity.number << self._own_bits
        self._used = 0

    def draw(self, n: int) -> npt.NDArray[np.uint32]:
        """The next `n` identifications, shape (n,)."""
        counts = np.arange(self._used, self._used + n) & ((1 << self._own_bits) - 1)
        self._used += n
        numbers = (counts + self._first).astype(np.uint32)
        left, right = numbers >> _HALF, numbers & _LOWER
        for table in self._rounds:
            left, right = right, left ^ table.take(right)
        return left << _HALF | right
