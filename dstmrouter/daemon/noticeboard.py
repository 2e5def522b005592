"""What workers tell the supervisor: their state as JSON, and destinations to be gleaned.

Each worker has a page of its own and is its only writer. It never waits for the supervisor to read:
a new notice replaces the old, and of too many gleaned addresses the oldest are lost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Octets

_PAGE: Final = 16384  # octets a worker
_GLEAN_SLOTS: Final = 256
_GLEAN_AT: Final = 64
_NOTICE_AT: Final = _GLEAN_AT + 4 * _GLEAN_SLOTS
_NOTICE_ROOM: Final = _PAGE - _NOTICE_AT


class Noticeboard:
    """View over one shared buffer, for workers and supervisor alike."""

    def __init__(self, buffer: Octets, workers: int) -> None:
        # Per worker: notices written (odd while one is), length of the notice, addresses gleaned.
        self._heads: npt.NDArray[np.uint64] = np.ndarray(
            (workers, 3), np.uint64, buffer, 0, (_PAGE, 8)
        )
        self._gleaned: npt.NDArray[np.uint32] = np.ndarray(
            (workers, _GLEAN_SLOTS), np.uint32, buffer, _GLEAN_AT, (_PAGE, 4)
        )
        self._notices: npt.NDArray[np.uint8] = np.ndarray(
            (workers, _NOTICE_ROOM), np.uint8, buffer, _NOTICE_AT, (_PAGE, 1)
        )
        self._gleaned_before = [0] * workers  # the reader's

    @staticmethod
    def size(workers: int) -> int:
        """Octets of shared memory."""
        return workers * _PAGE

    def post(self, worker: int, notice: dict[str, Any]) -> None:
        """Replace the notice of a worker."""
        text = np.frombuffer(json.dumps(notice).encode(), np.uint8)
        assert len(text) <= _NOTICE_ROOM, f"notice of {len(text)} octets"
        head = self._heads[worker]
        head[0] += np.uint64(1 + (int(head[0]) & 1))  # a predecessor may have died in the middle
        self._notices[worker, : len(text)] = text
        head[1] = len(text)
        head[0] += np.uint64(1)

    def read(self, worker: int) -> dict[str, Any]:
        """The last notice of a worker; empty if there is none, or one is being written."""
        version, length = int(self._heads[worker, 0]), int(self._heads[worker, 1])
        text = self._notices[worker, :length].tobytes()
        if version & 1 or not length or version != int(self._heads[worker, 0]):
            return {}
        notice: dict[str, Any] = json.loads(text)
        return notice

    def clear(self, worker: int) -> None:
        """Forget the notice of a worker that is dead."""
        self._heads[worker, 1] = 0

    def glean(self, worker: int, addresses: npt.NDArray[np.uint32]) -> None:
        """Report IPv4 destinations whose neighbour the kernel should be asked about."""
        addresses = addresses[-_GLEAN_SLOTS:]
        count = int(self._heads[worker, 2])
        slots = (count + np.arange(len(addresses))) % _GLEAN_SLOTS
        self._gleaned[worker, slots] = addresses
        self._heads[worker, 2] = count + len(addresses)

    def take_gleaned(self) -> npt.NDArray[np.uint32]:
        """What was reported since the last call, each address once; the supervisor's."""
        found = []
        for worker, before in enumerate(self._gleaned_before):
            count = int(self._heads[worker, 2])
            new = min(count - before, _GLEAN_SLOTS)
            if new > 0:
                slots = (count - new + np.arange(new)) % _GLEAN_SLOTS
                found.append(self._gleaned[worker, slots])
            self._gleaned_before[worker] = count
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint32)
