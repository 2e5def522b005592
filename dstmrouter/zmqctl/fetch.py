"""Fetching one snapshot part by part; no I/O and no clock.

The router asks for every part, a few ahead of what it has applied. So the server keeps no state per
router, a slow router costs it nothing, and the router never holds more than the window.
"""

from __future__ import annotations

from typing import Final

from dstmrouter.zmqctl.messages import SnapshotPart, SnapshotRequest

WINDOW: Final = 4  # parts asked for and not applied yet; 4 of 2 MB keep a fast link busy
RETRY_S: Final = 5.0  # silence after which the parts under way are asked for again
GIVE_UP_S: Final = 15.0  # silence after which the server must have forgotten this snapshot


class SnapshotFetch:
    """One snapshot of `epoch` that is at least as new as generation `at_least`.

    `requests(now)` says what to send, `accept(part, now)` whether a part is the next one. A server
    that no longer has the snapshot does not answer; the fetch then starts over with another one.
    """

    def __init__(self, *, router: str, epoch: bytes, at_least: int, start_at: float) -> None:
        self.epoch = epoch
        self.generation = at_least  # of the snapshot, once part 0 is here
        self.parts = 1  # until part 0 says how many
        self.received = 0
        self._router = router
        self._at_least = at_least
        self._applied = 0
        self._asked = 0
        self._ask_at = start_at  # nothing is asked before; later, when to ask again
        self._progress_at = start_at

    @property
    def complete(self) -> bool:
        """Whether every part has arrived."""
        return self.received == self.parts

    def next_timer(self) -> float | None:
        """Return when `requests` has something to say unless a part comes before."""
        if self._asked == self.received and not self._may_ask():
            return None  # nothing under way: `applied` opens the window
        return self._ask_at

    def requests(self, now: float) -> list[SnapshotRequest]:
        """Return the requests that are due."""
        if now >= self._ask_at and self._asked > self.received:
            self._ask_again(now)
        elif self._asked == 0 and now < self._ask_at:
            return []
        due = []
        while self._may_ask():
            due.append(self._request(self._asked))
            self._asked += 1
        if due:
            self._ask_at = now + RETRY_S
        return due

    def accept(self, part: SnapshotPart, now: float) -> bool:
        """Take `part` if it is the next one of this snapshot and was asked for."""
        if part.epoch != self.epoch or part.part != self.received or part.part >= self._asked:
            return False
        if part.part == 0:
            if part.generation < self._at_least:
                return False
            self.generation, self.parts = part.generation, part.parts
        elif (part.generation, part.parts) != (self.generation, self.parts):
            return False
        self.received += 1
        self._progress_at = now
        self._ask_at = now + RETRY_S
        return True

    def applied(self) -> None:
        """One more part is in the table: another may be asked for."""
        self._applied += 1

    def _ask_again(self, now: float) -> None:
        if now >= self._progress_at + GIVE_UP_S:
            self.generation, self.parts = self._at_least, 1
            self.received = self._applied = 0
            self._progress_at = now
        self._asked = self.received

    def _request(self, part: int) -> SnapshotRequest:
        return SnapshotRequest(
            router=self._router, epoch=self.epoch, generation=self.generation, part=part
        )

    def _may_ask(self) -> bool:
        return self._asked < min(self.parts, self._applied + WINDOW)
