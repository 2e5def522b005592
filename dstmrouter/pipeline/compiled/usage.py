"""Counting for bindings, compiled: what `dstmrouter.pipeline.usage` says, for normal packets.

A record of usage is as long as a row of the binding table, so the one of a row is always as many
octets further on: `World.usage`. Records are written when it is known what was sent, from the
columns of the burst alone, in a loop that has those of later packets fetched meanwhile: from the
second cache, where the pass has had them brought (`burst.fetch_usage`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.jit.functions import NONE, ONE, WORD, U, address, compiled, inlined, span
from dstmrouter.jit.pointers import load8, load64, numbers, prefetch_to_write, store64
from dstmrouter.pipeline.bindings import ROW_SIZE
from dstmrouter.pipeline.compiled.views import COMING, NO_PORT, Burst, World
from dstmrouter.pipeline.usage import FROM_CLIENT, RECORD_SIZE, TO_CLIENT
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.compiled.views import Columns, Views
    from dstmrouter.pipeline.memory import Index

assert RECORD_SIZE == ROW_SIZE
_TO, _FROM = U(TO_CLIENT * 8), U(FROM_CLIENT * 8)  # octets
_ENCAPSULATED: Final = U(Verdict.ENCAPSULATED)
_DECAPSULATED: Final = U(Verdict.DECAPSULATED)
_HAIRPINNED: Final = U(Verdict.HAIRPINNED)
_NO_PORT: Final = U(NO_PORT)
_AHEAD: Final = U(32)  # packets; 16 cost 1.5 % more of the rate where records are in no cache
_NUMBERS: Final = 2 + len(Burst._fields) - COMING


@inlined
def add(at: np.uint64, octets: np.uint64) -> None:
    """Count one packet in the half of a record that is at `at`."""
    packets, total = load64(at), load64(at + WORD)
    store64(at, packets + ONE)
    store64(at + WORD, total + octets)


@compiled
def charge(frames: np.uint64, usage: np.uint64, burst: Burst, verdicts: np.uint64) -> None:
    """Count what the pass has forwarded of a burst and was sent.

    `frames` and `usage` are those of `World`; `verdicts` is where the final ones are, an octet for
    each packet. Of the burst, `at` and `length` are not looked at.
    """
    for i in span(NONE, burst.size):
        prefetch_to_write(load64(burst.row + min(i + _AHEAD, burst.size - ONE) * WORD) + usage)
        if load8(burst.port + i) == _NO_PORT:
            continue  # the numpy steps' to count
        verdict, record = load8(verdicts + i), load64(burst.row + i * WORD) + usage
        headers = load64(burst.inner_at + i * WORD) - frames - load64(burst.new_at + i * WORD)
        octets = load64(burst.new_length + i * WORD) - headers
        if verdict == _ENCAPSULATED:
            add(record + _TO, octets)
        elif verdict == _DECAPSULATED:
            add(record + _FROM, octets)
        elif verdict == _HAIRPINNED:
            add(record + _FROM, octets)
            add(load64(burst.turned + i * WORD) + usage + _TO, octets)


@compiled
def settle(given: int, size: int, verdicts: int) -> None:
    """As `charge`, for `size` packets; at `given` are `frames`, `usage` and those of `Columns`."""
    known = numbers(U(given), _NUMBERS)
    charge(known[0], known[1], Burst(NONE, NONE, U(size), *known[2:]), U(verdicts))


class CompiledCharges:
    """What the last burst owes that the pass has worked on; a `Charges`."""

    def __init__(self, views: Views, columns: Columns) -> None:
        world = World(*views.numbers)
        self._numbers = np.array([world.frames, world.usage, *columns.numbers], np.uint64)
        self._at = int(address(self._numbers))
        self._kept = views, columns  # the addresses are of their memory
        self._own = columns.verdict.ctypes.data
        self._size = 0
        self._rows: Index | None = None

    def of(self, size: int) -> CompiledCharges:
        """Those of the burst at hand, of `size` packets."""
        self._size = size
        return self

    def moved(self, rows: Index) -> CompiledCharges:
        """The same, where frame i of the burst is number rows[i] of another one."""
        there = copy.copy(self)
        there._rows = rows if self._rows is None else rows[self._rows]  # noqa: SLF001 - one of us
        return there

    def settle(self, _line: npt.NDArray[np.uint64], verdicts: npt.NDArray[np.uint8]) -> None:
        """Count what was sent, in the line of the worker that the views are for."""
        if self._rows is None:  # they are those of `Columns`, which the caller may have changed
            settle(self._at, self._size, self._own)
        else:
            mine = verdicts[self._rows]
            settle(self._at, self._size, mine.ctypes.data)
