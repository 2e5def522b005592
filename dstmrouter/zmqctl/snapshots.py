"""Snapshots for routers that ask: made when needed, shared, kept while somebody fetches them.

No state per router: a request names the snapshot and the part it wants.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from dstmrouter.zmqctl.columns import ROWS_MAX, split_rows
from dstmrouter.zmqctl.messages import SnapshotPart, SnapshotRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.binding import BindingColumns

KEPT_MAX: Final = 4  # snapshots at the same time; a million leases are 37 MB each
KEPT_S: Final = 30.0  # after the last request for a part of it
SHARED_S: Final = 2.0  # age up to which a new request gets an existing snapshot
MAKE_INTERVAL_S: Final = 0.1  # making one stops the event loop for some 50 ms per million leases


@dataclasses.dataclass(frozen=True, slots=True)
class StoreStamp:
    """The id of a store that several servers share, and the version of it that this one has seen.

    What a server publishes or has in a snapshot is true at that version.
    """

    store: bytes
    version: Callable[[], int]


UNSHARED: Final = StoreStamp(b"", int)


@dataclasses.dataclass(slots=True)
class _Snapshot:
    generation: int
    parts: list[BindingColumns]
    made_at: float
    used_at: float
    version: int


class SnapshotShelf:
    """Answers requests for parts; `make` returns the present generation and all its bindings."""

    def __init__(self, epoch: bytes, make: Callable[[], tuple[int, BindingColumns]]) -> None:
        self.stamp = UNSHARED
        self._epoch = epoch
        self._make = make
        self._kept: list[_Snapshot] = []  # oldest first
        self._made_at = float("-inf")

    def part(self, request: SnapshotRequest, now: float) -> SnapshotPart | None:
        """Return the part asked for, or None: gone, asked too soon, or of another server run."""
        if request.epoch != self._epoch:
            return None
        self._kept = [kept for kept in self._kept if now - kept.used_at <= KEPT_S]
        snapshot = self._new_enough(request, now) if request.part == 0 else self._same(request)
        if snapshot is None or request.part >= len(snapshot.parts):
            return None
        snapshot.used_at = now
        return SnapshotPart(
            epoch=self._epoch,
            generation=snapshot.generation,
            part=request.part,
            parts=len(snapshot.parts),
            age_s=int(now - snapshot.made_at),
            bindings=snapshot.parts[request.part],
            store=self.stamp.store,
            version=snapshot.version,
        )

    def too_soon(self, request: SnapshotRequest, now: float) -> bool:
        """Whether a request that got nothing is worth another try after MAKE_INTERVAL_S."""
        new_one = request.part == 0 and request.epoch == self._epoch
        return new_one and now - self._made_at < MAKE_INTERVAL_S

    def _same(self, request: SnapshotRequest) -> _Snapshot | None:
        same = [kept for kept in self._kept if kept.generation == request.generation]
        return same[-1] if same else None

    def _new_enough(self, request: SnapshotRequest, now: float) -> _Snapshot | None:
        for kept in reversed(self._kept):
            if kept.generation >= request.generation and now - kept.made_at <= SHARED_S:
                return kept
        if now - self._made_at < MAKE_INTERVAL_S:
            return None
        generation, bindings = self._make()
        self._made_at = now
        parts = split_rows(bindings, ROWS_MAX)
        made = _Snapshot(generation, parts, now, now, self.stamp.version())
        # one snapshot per generation, or its parts could come from two
        others = [kept for kept in self._kept if kept.generation != generation]
        self._kept = [*others[-(KEPT_MAX - 1) :], made]
        return made if generation >= request.generation else None
