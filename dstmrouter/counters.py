"""Counters in shared memory: packets and octets by number, one line a worker, one writer each.

The numbers are those of `Verdict`; this module only counts. A reader takes sums over workers, and
never stops one. A worker that is started again goes on counting where its predecessor ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import mmap

    Octets: TypeAlias = mmap.mmap | bytearray | npt.NDArray[np.uint8]

_LINE: Final = 64  # octets of a cache line: workers must not share one
_WORD: Final = 8  # octets
_KINDS: Final = 2  # packets, octets


class Counters:
    """View over one shared buffer: `workers` lines of `numbers` counters, twice."""

    def __init__(self, buffer: Octets, workers: int, numbers: int) -> None:
        self._numbers = numbers
        stride = self._line(numbers)
        self._stride = stride // _WORD
        # Of single numbers, a memory view takes a quarter of the time of an array.
        self._words = np.frombuffer(buffer, np.uint64, workers * self._stride).data
        self.values: npt.NDArray[np.uint64] = np.ndarray(
            (workers, _KINDS, numbers), np.uint64, buffer, 0, (stride, numbers * 8, 8)
        )

    @classmethod
    def size(cls, workers: int, numbers: int) -> int:
        """Octets of shared memory."""
        return workers * cls._line(numbers)

    @staticmethod
    def _line(numbers: int) -> int:
        return -(-_KINDS * numbers * 8 // _LINE) * _LINE

    def count(
        self,
        worker: int,
        numbers: npt.NDArray[np.uint8],
        octets: npt.NDArray[np.int64],
        together: int | None = None,
    ) -> None:
        """Count a burst: one number and one length for each packet, shape (n,), n > 0.

        `together` is the sum of `octets`, if that is known.
        """
        told = numbers.tobytes()
        if told == told[:1] * len(told):  # a burst of one fate, the normal case
            total = int(np.add.reduce(octets)) if together is None else together
            self.add(worker, told[0], len(told), total)
            return
        line = self.values[worker]
        packets = np.bincount(numbers, minlength=self._numbers)
        # Weights are float64: exact, as a burst has far less than 2^53 octets.
        lengths = np.bincount(numbers, weights=octets, minlength=self._numbers)
        line[0] += packets.astype(np.uint64)
        line[1] += lengths.astype(np.uint64)

    def add(self, worker: int, number: int, packets: int, octets: int) -> None:
        """Count `packets` of one number that have `octets` together."""
        place = worker * self._stride + number
        self._words[place] += packets
        self._words[place + self._numbers] += octets

    def totals(self) -> npt.NDArray[np.uint64]:
        """Sums over all workers: shape (2, numbers), packets and octets."""
        totals: npt.NDArray[np.uint64] = self.values.sum(axis=0)
        return totals
