"""What a worker does about wanted packets: keep them as they came, and tell what became of them.

Without an order it does nothing at all. With one, a worker copies the frames of every burst that
the filter accepts, because those that leave are rewritten in place, and hands on the ones whose
verdict is wanted. It never waits: when its ring is full, it leaves the packets alone.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.daemon.tapboard import FRAME_MAX, NO_PORT, Sample
from dstmrouter.pipeline.cbpf import Filter
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.daemon.tapboard import Order, TapBoard
    from dstmrouter.pipeline.memory import Index, Octets
    from dstmrouter.pipeline.outcome import Made, Outcome

_WIDTH_STEP: Final = 64  # octets; for every width there is a view of frame memory
_FORWARDED: Final = [verdict.forwarded for verdict in Verdict]


@dataclasses.dataclass(frozen=True, slots=True)
class Watched:
    """Frames of a burst as they came."""

    port: int
    rows: Index  # which frames of the burst
    frames: npt.NDArray[np.void]  # one a row, and whatever lies behind it
    sizes: list[int]  # octets of the frames


class Tap:
    """One worker's end of the board; `memory` is that of its frames."""

    def __init__(self, board: TapBoard, worker: int, memory: Octets) -> None:
        self._board = board
        self._worker = worker
        self._octets = np.frombuffer(memory, np.uint8).data
        self._memory = FrameMemory(memory)
        self._order: Order | None = None
        self._filter: Filter | None = None

    def wanted(self) -> bool:
        """Whether anybody watches; to be asked before every burst."""
        return self._board.armed

    def before(
        self, at: Index, length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> Watched | None:
        """Keep the frames of a burst as they are; None if none of them is to be watched."""
        order = self._follow()
        if order is None or now_s > self._board.until_s():
            return None
        if not self._board.room(self._worker):
            self._board.miss(self._worker, len(at))
            return None
        rows = self._accepted(at, length)
        if not len(rows):
            return None
        sizes = np.minimum(length[rows], FRAME_MAX)
        widest = -(-max(int(sizes.max()), 1) // _WIDTH_STEP) * _WIDTH_STEP
        return Watched(port, rows, self._memory.records(widest)[at[rows]], sizes.tolist())

    def after(self, watched: Watched, outcome: Outcome) -> None:
        """Hand on those whose verdict is wanted, with what was sent in their place."""
        order = self._order
        assert order is not None
        found = np.flatnonzero(order.verdicts.take(outcome.verdicts[watched.rows]))
        room = self._board.room(self._worker)
        self._board.miss(self._worker, max(len(found) - room, 0))
        for number in found[:room].tolist():
            row = int(watched.rows[number])
            verdict = int(outcome.verdicts[row])
            port, sent = self._sent(outcome, row) if _FORWARDED[verdict] else (NO_PORT, b"")
            frame = watched.frames[number].tobytes()[: watched.sizes[number]]
            now = time.time_ns()
            sample = Sample(now, watched.port, frame, verdict, sent_port=port, sent=sent)
            self._board.put(self._worker, order.version, sample)

    def made(self, made: Made, now_s: float) -> None:
        """Hand on packets of our own."""
        order = self._follow()
        if order is None or now_s > self._board.until_s():
            return
        rows = self._accepted(made.at, made.length)
        rows = rows[order.verdicts.take(made.verdicts[rows])]
        room = self._board.room(self._worker)
        self._board.miss(self._worker, max(len(rows) - room, 0))
        for row in rows[:room].tolist():
            frame = self._copy(int(made.at[row]), int(made.length[row]))
            verdict = int(made.verdicts[row])
            sample = Sample(time.time_ns(), made.port, frame, verdict, made=True)
            self._board.put(self._worker, order.version, sample)

    def _follow(self) -> Order | None:
        if self._order is None or self._order.version != self._board.version:
            self._order = self._board.order()
            program = self._order.program if self._order else b""
            self._filter = Filter(program) if program else None
        return self._order

    def _accepted(self, at: Index, length: npt.NDArray[np.int64]) -> Index:
        if self._filter is None:
            return np.arange(len(at))
        return np.flatnonzero(self._filter.matches(self._memory, at, length))

    def _sent(self, outcome: Outcome, row: int) -> tuple[int, bytes]:
        for send in outcome.sends:
            [found] = np.nonzero(send.rows == row)
            if len(found):
                return send.port, self._copy(int(send.at[found[0]]), int(send.length[found[0]]))
        return NO_PORT, b""

    def _copy(self, start: int, size: int) -> bytes:
        return bytes(self._octets[start : start + min(size, FRAME_MAX)])
