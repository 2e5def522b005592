"""A router's side of one feed: when to fetch, apply, acknowledge; no I/O and no clock.

Theory of operation. A PUB feed loses messages without a word: before the subscription arrives, when
our queue is full, while the connection is away. So nothing is believed that is not numbered:

1. SEEKING: nothing heard yet. The server sends a heartbeat as soon as a subscription reaches it:
   hearing it proves the subscription, and it names epoch and generation.
2. FETCHING: a snapshot at least as new as that generation is fetched; later changes wait in a
   bounded buffer.
3. FOLLOWING: the snapshot, then every change newer than it, in the order of generations.

A hole in the generations (seen in a change or in a heartbeat), another epoch or a full buffer lead
back to 2. What waited is forgotten; what was applied stays, and the next snapshot puts it right.
"""

from __future__ import annotations

import collections
import enum
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.zmqctl.columns import ROWS_MAX, aged, join_in_order, last_wins
from dstmrouter.zmqctl.fetch import SnapshotFetch
from dstmrouter.zmqctl.messages import Ack, Alive, Delta, Heartbeat, Message, SnapshotPart
from dstmrouter.zmqctl.update import BindingUpdate

if TYPE_CHECKING:
    from dstmrouter.zmqctl.update import ApplyResult

FETCH_INTERVAL_S: Final = 1.0  # between the starts of two snapshots: a bad link must not storm
STALE_INTERVALS: Final = 3  # heartbeats missed before the feed counts as stale
BUFFER_ROWS: Final = 1 << 20  # changed bindings that may wait, 30 MB
BUFFER_DELTAS: Final = 1 << 14  # and messages, for their overhead


class Phase(enum.Enum):
    """Where the follower is in its theory of operation."""

    SEEKING = "seeking"
    FETCHING = "fetching"
    FOLLOWING = "following"


class Follower:
    """Feed `source` as `router` follows it; every method takes the present time in seconds.

    `server` tells feeds of one source apart.

    Put in what arrives (`on_feed`, `on_control`); take out `messages(now)` to send and
    `next_update(now)` to apply, one at a time, and report each with `applied` or `failed`.
    """

    def __init__(self, *, router: str, source: str, now: float, server: str = "") -> None:
        self.counters: collections.Counter[str] = collections.Counter()
        self.phase = Phase.SEEKING
        self.epoch = b""  # of the server's present run, as the feed says
        self.newest = 0  # generation up to which every change is here or in the snapshot to come
        self.in_use = (b"", 0)  # epoch and generation the router forwards by
        self.rows = self.refused = 0
        self._applied = self._refused = 0  # since the last Ack
        self.interval_s = 5.0
        self.heard_at: float | None = None
        self._router = router
        self._source = source
        self._server = server
        self._started_at = now
        self._alive_at = now
        self._fetch: SnapshotFetch | None = None
        self._fetch_started_at = float("-inf")
        self._parts: collections.deque[SnapshotPart] = collections.deque()
        self._deltas: collections.deque[Delta] = collections.deque()
        self._delta_rows = 0
        self._in_hand: BindingUpdate | None = None
        self._ack: Ack | None = None  # not sent yet; a server that is slow gets one for several

    # What arrives.

    def on_feed(self, message: Message, now: float) -> None:
        """Take one message of the SUB socket."""
        if not isinstance(message, Heartbeat | Delta):
            self.counters["unexpected"] += 1
            return
        self.heard_at = now
        known = message.generation - isinstance(message, Delta)  # what a snapshot must contain
        if message.epoch != self.epoch:
            self.counters["epochs"] += 1
            self._start_fetch(message.epoch, known, now)
        elif known > self.newest:
            self.counters["gaps"] += 1
            self._start_fetch(message.epoch, known, now)
        if isinstance(message, Delta):
            self._keep(message, now)
        else:
            self.interval_s = message.interval_ms / 1000

    def on_control(self, message: Message, now: float) -> None:
        """Take one message of the control socket."""
        fetch = self._fetch
        if not isinstance(message, SnapshotPart):
            self.counters["unexpected"] += 1
            return
        if fetch is None or not fetch.accept(message, now):
            self.counters["parts-ignored"] += 1
            return
        if message.part == 0:
            self._parts.clear()  # parts of the snapshot this one replaces
        self._parts.append(message)
        if fetch.complete:
            self.counters["snapshots"] += 1
            self.phase = Phase.FOLLOWING
            self.newest = max(self.newest, message.generation)

    def _start_fetch(self, epoch: bytes, at_least: int, now: float) -> None:
        start_at = max(now, self._fetch_started_at + FETCH_INTERVAL_S)
        self.phase = Phase.FETCHING
        self.epoch, self.newest = epoch, at_least
        self._fetch_started_at = start_at
        self._fetch = SnapshotFetch(
            router=self._router, epoch=epoch, at_least=at_least, start_at=start_at
        )
        self._parts.clear()
        self._deltas.clear()
        self._delta_rows = 0

    def _keep(self, delta: Delta, now: float) -> None:
        if delta.generation <= self.newest:
            self.counters["duplicates"] += 1
            return
        self.newest = delta.generation
        self._deltas.append(delta)
        self._delta_rows += len(delta.bindings)
        if self._delta_rows > BUFFER_ROWS or len(self._deltas) > BUFFER_DELTAS:
            self.counters["overflows"] += 1
            self._start_fetch(self.epoch, self.newest, now)

    # What is to be applied.

    def next_update(self) -> BindingUpdate | None:
        """Return what to apply next, or None; the caller reports it before it asks again."""
        assert self._in_hand is None, "one update at a time"
        if self._parts:
            self._in_hand = self._from_part(self._parts.popleft())
        elif self.phase is Phase.FOLLOWING:
            self._in_hand = self._from_deltas()
        return self._in_hand

    def _from_part(self, part: SnapshotPart) -> BindingUpdate:
        return BindingUpdate(
            source=self._source,
            replace=True,
            columns=last_wins(aged(part.bindings, part.age_s)),
            epoch=part.epoch,
            generation=part.generation,
            first=part.part == 0,
            last=part.part + 1 == part.parts,
            server=self._server,
            store=part.store,
            version=part.version,
        )

    def _from_deltas(self) -> BindingUpdate | None:
        """All changes that wait, as one: a router that lags catches up in one step."""
        fetch = self._fetch
        taken: list[Delta] = []
        rows = 0
        while self._deltas and rows < ROWS_MAX:
            delta = self._deltas[0]
            if taken and delta.bindings.tep6 != taken[0].bindings.tep6:
                break
            self._deltas.popleft()
            self._delta_rows -= len(delta.bindings)
            if fetch is None or delta.generation > fetch.generation:  # else: in the snapshot
                taken.append(delta)
                rows += len(delta.bindings)
        if not taken:
            return None
        return BindingUpdate(
            source=self._source,
            replace=False,
            columns=join_in_order([delta.bindings for delta in taken]),
            epoch=taken[-1].epoch,
            generation=taken[-1].generation,
            server=self._server,
            store=taken[-1].store,
            version=taken[-1].version,  # what is in an older one only has not changed since
        )

    def applied(self, result: ApplyResult) -> None:
        """The update in hand is in use by every worker: acknowledge it."""
        update = self._in_hand
        assert update is not None
        self._in_hand = None
        self.rows = result.rows
        self.refused += result.refused
        self._applied += result.applied
        self._refused += result.refused
        if update.replace:
            self._part_applied(update)
        if not update.last:
            return
        self.in_use = (update.epoch, update.generation)
        self._ack = Ack(
            router=self._router,
            epoch=update.epoch,
            generation=update.generation,
            applied=self._applied,
            refused=self._refused,
            rows=result.rows,
        )

    def _part_applied(self, update: BindingUpdate) -> None:
        fetch = self._fetch
        if fetch and (fetch.epoch, fetch.generation) == (update.epoch, update.generation):
            fetch.applied()

    def failed(self, now: float) -> None:
        """The update in hand could not be applied: what the table holds is unknown, start over."""
        self._in_hand = None
        self.counters["failed"] += 1
        self._start_fetch(self.epoch, self.newest, now)

    # What is to be sent.

    def messages(self, now: float) -> list[Message]:
        """Return what is due on the control socket: acknowledgements, requests, signs of life."""
        due: list[Message] = []
        if self._ack is not None:
            due.append(self._ack)
            self._ack = None
            self._applied = self._refused = 0
        if self._fetch is not None:
            due += self._fetch.requests(now)
        if now >= self._alive_at:
            due.append(self._alive())
            self._alive_at = now + self.interval_s
        return due

    def _alive(self) -> Alive:
        epoch, generation = self.in_use
        return Alive(
            router=self._router,
            epoch=epoch,
            generation=generation,
            rows=self.rows,
            refused=self.refused,
        )

    def next_timer(self) -> float:
        """Return when `messages` has something new although nothing arrived."""
        retry_at = self._fetch.next_timer() if self._fetch is not None else None
        return self._alive_at if retry_at is None else min(self._alive_at, retry_at)

    def stale(self, now: float) -> bool:
        """Whether the server has been silent for several heartbeats."""
        heard_at = self._started_at if self.heard_at is None else self.heard_at
        return now >= heard_at + STALE_INTERVALS * self.interval_s

    def state(self, now: float) -> dict[str, Any]:
        """Return what an operator wants to know of this feed, as plain values."""
        return {
            "source": self._source,
            "phase": self.phase.value,
            "stale": self.stale(now),
            "heard_s": None if self.heard_at is None else round(now - self.heard_at, 3),
            "epoch": self.epoch.hex(),
            "generation": self.in_use[1] if self.in_use[0] == self.epoch else None,
            "newest": self.newest,
            "waiting_rows": self._delta_rows,
            "rows": self.rows,
            "refused": self.refused,
            "counters": dict(self.counters),
        }
