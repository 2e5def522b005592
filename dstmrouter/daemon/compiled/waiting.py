"""Frames that the compiled pass has left, until it is worth calling the numpy steps for them.

A call of the steps takes 0.2 ms, for one packet as for a hundred, and 0.7 where the caches have
been full of other things. When every burst of a busy port has two or three packets for them, most
of a worker's time goes into such calls. So under load they wait for others, but not as long as the
call then takes; when there is time, they do not wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

ENOUGH: Final = 64  # frames: a call is 3 us each then
BUSY: Final = 128  # packets in one turn of a port: fewer, and nothing waits
PATIENCE: Final = 8192  # packets that may come meanwhile: less than 0.4 ms of work for the pass


class Waiting:
    """The frames of one port that wait."""

    def __init__(self, burst: int) -> None:
        """`burst` frames at most are left at a time."""
        self._frames = np.empty((2, ENOUGH + burst), np.int64)
        self._passed = 0
        self.size = 0

    def add(self, frames: npt.NDArray[np.int64], received: int) -> int:
        """Keep `frames` (where they start and their lengths, shape (2, n)) of a turn.

        `received` is how many packets came in that turn. Returns how many frames are to be taken
        now: all or none.
        """
        n = frames.shape[1]
        if n:
            self._frames[:, self.size : self.size + n] = frames
            self.size += n
        elif not self.size:
            return 0
        self._passed += received
        if self.size < ENOUGH and received >= BUSY and self._passed < PATIENCE:
            return 0
        return self.size

    def take(self) -> npt.NDArray[np.int64]:
        """All that wait, oldest first; a copy, shape (2, n)."""
        taken = self._frames[:, : self.size].copy()
        self.size = self._passed = 0
        return taken
