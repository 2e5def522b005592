"""Internet checksums on columns (RFC 1071; update: RFC 1624).

A one's complement sum is a sum modulo 65535, whatever the byte order and the word size, because
2^16 and 2^32 are 1 modulo 65535. So a header is summed as little-endian 32-bit words, and one
remainder replaces all folding.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.wire.constant import constant

Column: TypeAlias = npt.NDArray[np.int64]

_ONES: Final = np.int64(0xFFFF)
_UNSIGNED_ONES: Final = np.uint64(0xFFFF)
_INVERSE: Final = constant(pow(0xFFFF, -1, 1 << 64), np.uint64)
_MOST_MULTIPLES: Final = constant((1 << 64) // 0xFFFF, np.uint64)


# One less TTL makes the sum of the header's 16-bit words smaller by 0x0100.
_TTL_STEP: Final = 0x0100


def _after_ttl_step() -> npt.NDArray[np.uint16]:
    wire = np.arange(1 << 16, dtype=np.uint16)
    updated = (wire.byteswap().astype(np.int64) + _TTL_STEP) % _ONES
    return updated.astype(np.uint16).byteswap()


AFTER_TTL_STEP: Final = _after_ttl_step()
"""Checksum of a header whose TTL was decremented, by the one before; both as on the wire, '<u2'.

The same as `updated`, in half the time: R4 is done to every packet.
"""


def wrong(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which headers of five words have a wrong checksum; `words` has shape (n, 5), dtype '<u4'.

    A number is a multiple of 65535 if and only if it becomes a small one when it is multiplied by
    the inverse of 65535 modulo 2^64: the multiple of k becomes k (Granlund and Montgomery 1994,
    section 9). A remainder takes 3 ns, this 1; with the sum, of words in columns, it is 7 ns a row.
    Summing along the short axis of rows takes 22.
    """
    sums: npt.NDArray[np.uint64] = np.add.reduce(words.T.astype(np.uint64, order="C"))
    odd: npt.NDArray[np.bool_] = sums * _INVERSE > _MOST_MULTIPLES
    return odd


def row_sums(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Sum all words of every row, shape (n, k), modulo 65535; for the rare packets."""
    sums: npt.NDArray[np.uint64] = words.sum(axis=1, dtype=np.uint64)
    return sums % _UNSIGNED_ONES


def updated(checksums: Column, less: Column | np.int64) -> Column:
    """Checksums after the sum of the words they cover got smaller by `less`, which may be negative.

    Equal to RFC 1624 equation 3, 0 in place of 0xFFFF included. Shape (n,), values 0..65534.
    """
    result: Column = (checksums + less) % _ONES
    return result


def of_rows(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint16]:
    """Checksums over all words of every row, shape (n, k), '<u4'; as they stand on the wire, '<u2'.

    The checksum field itself must be zero. No row may be all zero.
    """
    sums = row_sums(words)
    return ((_UNSIGNED_ONES - sums) % _UNSIGNED_ONES).astype("<u2")
