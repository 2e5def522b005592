"""Which IPv6 addresses are clients': a Bloom filter in shared memory, for fragments (R19).

A fragment that is not the first says nothing about the IPv4 address inside, which is what bindings
are found by. So before memory is given to it, its source is looked for here. The filter never
denies a client, and takes about one stranger in fifty for one; whatever those make whole is still
checked like every tunnel packet (R12).

The supervisor adds clients before it publishes their bindings, and builds the filter anew now and
then, without those that have gone: beside the one in use, then one store changes over. A word of 64
bits holds the three bits of a client, so a look-up is one load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.keyed import key_of, mixed

if TYPE_CHECKING:
    from dstmrouter.binding import Words6
    from dstmrouter.pipeline.memory import Index, Octets

_WORDS_AT: Final = 64  # octets; before them the key and which filter is in use
_LEAST_WORDS: Final = 1 << 10
_CLIENTS_A_WORD: Final = 4
_BITS_A_CLIENT: Final = 3
_SIX: Final = np.uint64(6)
_BITS: Final = np.uint64(63)
_ONE: Final = np.uint64(1)


class ClientSet:
    """View over one shared buffer, for up to `clients` addresses; more only fit less well."""

    def __init__(self, buffer: Octets, clients: int) -> None:
        self._head: npt.NDArray[np.uint64] = np.ndarray(3, np.uint64, buffer, 0)
        words = self._words(clients)
        self._filters: npt.NDArray[np.uint64]
        self._filters = np.ndarray((2, words), np.uint64, buffer, _WORDS_AT)
        self._shift = np.uint64(64 - (words - 1).bit_length())

    @classmethod
    def size(cls, clients: int) -> int:
        """Octets of shared memory: four a client, at least."""
        return _WORDS_AT + 2 * 8 * cls._words(clients)

    @staticmethod
    def _words(clients: int) -> int:
        return int(max(1 << (clients // _CLIENTS_A_WORD).bit_length(), _LEAST_WORDS))

    def lay_out(self, key: tuple[int, int]) -> None:
        """Take a secret of two 64-bit numbers, once, before workers start; memory is zeroed."""
        self._head[:2] = key_of(*key)

    def add(self, client6: Words6) -> None:
        """Add addresses, shape (n, 2); the supervisor's."""
        where, bits = self._place(client6)
        np.bitwise_or.at(self._filters[int(self._head[2])], where, bits)

    def rebuild(self, client6: Words6) -> None:
        """Hold these addresses and no others; the supervisor's.

        Not twice within a burst: a worker may still be looking at the filter before the last.
        """
        fresh = 1 - int(self._head[2])
        self._filters[fresh] = 0
        where, bits = self._place(client6)
        np.bitwise_or.at(self._filters[fresh], where, bits)
        self._head[2] = fresh

    def has(self, addresses: Words6) -> npt.NDArray[np.bool_]:
        """Which of the addresses may be clients', shape (n,); never wrong about those that are."""
        where, bits = self._place(addresses)
        found = self._filters[int(self._head[2])].take(where)
        known: npt.NDArray[np.bool_] = found & bits == bits
        return known

    def _place(self, addresses: Words6) -> tuple[Index, npt.NDArray[np.uint64]]:
        hashed = mixed(addresses, (self._head[0], self._head[1]))
        where = (hashed >> self._shift).astype(np.intp)
        bits = _ONE << (hashed & _BITS)
        for _ in range(_BITS_A_CLIENT - 1):
            hashed >>= _SIX
            bits |= _ONE << (hashed & _BITS)
        return where, bits
