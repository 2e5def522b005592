"""A keyed hash of two words, for tables that strangers must not be able to fill on purpose.

Universal hashing by secret odd multipliers (Dietzfelbinger and others, 1997), twice. The upper bits
are the good ones.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Key: TypeAlias = "tuple[np.uint64, np.uint64]"
_HALF: Final = np.uint64(32)


def key_of(first: int, second: int) -> Key:
    """A key out of two secret numbers of 64 bits."""
    return np.uint64(first | 1), np.uint64(second | 1)


def drawn(seed: bytes, purpose: str) -> Key:
    """A key for one purpose out of a secret."""
    words = np.frombuffer(hashlib.shake_256(seed + purpose.encode()).digest(16), "<u8")
    return key_of(*words.tolist())


def mixed(words: npt.NDArray[np.uint64], key: Key) -> npt.NDArray[np.uint64]:
    """One word out of each two: `words` has shape (n, 2), the result (n,)."""
    hashed: npt.NDArray[np.uint64] = words[:, 0] * key[0]
    hashed ^= hashed >> _HALF
    hashed += words[:, 1]
    hashed *= key[1]
    hashed ^= hashed >> _HALF
    hashed *= key[0]
    return hashed
