"""Fragments that wait for others of their datagrams, one at a time and within limits (R19).

For what does not come within one burst. A datagram whose pieces overlap is discarded with all that
is still to come of it (RFC 5722 section 4): it stays here without frames until its time is over.
When something is too much, the oldest makes room.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.pipeline.rules import ReassemblyRules

Key: TypeAlias = tuple[int, ...]
"""Source and destination as two words each, and the identification."""


@dataclasses.dataclass(slots=True)
class Piece:
    """One fragment in its frame."""

    at: int  # where the frame starts, octets of frame memory
    length: int  # octets of the frame
    port: int  # by which it came
    link_len: int
    data_at: int  # where its octets start
    offset: int
    end: int
    more: bool
    ecn: int


@dataclasses.dataclass(slots=True)
class Datagram:
    """What is known of one datagram."""

    client: Key
    since_s: float
    pieces: list[Piece] = dataclasses.field(default_factory=list)
    end: int | None = None  # octets, once the last piece is there
    condemned: Verdict | None = None

    @property
    def first(self) -> Piece | None:
        """The piece that all others are put behind, if it is there."""
        return next((piece for piece in self.pieces if piece.offset == 0), None)

    def is_whole(self) -> bool:
        """Whether all pieces are there; they do not overlap."""
        return self.end is not None and self.end == sum(p.end - p.offset for p in self.pieces)

    def clashes(self, new: Piece) -> bool:
        """Whether a piece covers octets that are covered, or says of the end what is not so."""
        if any(p.offset < new.end and new.offset < p.end for p in self.pieces):
            return True
        known = max((p.end for p in self.pieces), default=0)
        if self.end is not None:
            return not new.more or new.end > self.end
        return not new.more and new.end < known

    def twin(self, new: Piece) -> Piece | None:
        """The piece with the same place in the datagram, if there is one."""
        same = (new.offset, new.end, new.more)
        return next((p for p in self.pieces if (p.offset, p.end, p.more) == same), None)


class FragmentStore:
    """Datagrams that are not whole yet, the oldest first.

    What has to go for a new one, or because its time is over, is in `gone` until it is taken.
    """

    def __init__(self, rules: ReassemblyRules) -> None:
        self._rules = rules
        self._datagrams: dict[Key, Datagram] = {}
        self._clients: dict[Key, dict[Key, None]] = {}  # their datagrams, the oldest first
        self._frames = 0
        self._gone: list[tuple[Verdict, Datagram]] = []

    def __contains__(self, key: Key) -> bool:
        return key in self._datagrams

    def __len__(self) -> int:
        return len(self._datagrams)

    @property
    def frames(self) -> int:
        """How many frames wait."""
        return self._frames

    def datagram(self, key: Key, now_s: float) -> Datagram:
        """The datagram of `key`; room is made for a new one."""
        known = self._datagrams.get(key)
        if known is not None:
            return known
        client = key[:2]
        mine = self._clients.get(client, {})
        if len(mine) >= self._rules.per_client:
            self._drop(next(iter(mine)), Verdict.DROP_PIECE_EVICTED)
        while len(self._datagrams) >= self._rules.frames:
            self._drop(next(iter(self._datagrams)), Verdict.DROP_PIECE_EVICTED)
        self._datagrams[key] = made = Datagram(client, now_s)
        self._clients.setdefault(client, {})[key] = None
        return made

    def keep(self, key: Key, piece: Piece) -> bool:
        """Add a piece to a datagram that is here; return whether it is whole then.

        If frames are short, the oldest datagram goes, which may be this one.
        """
        datagram = self._datagrams[key]
        datagram.pieces.append(piece)
        self._frames += 1
        if not piece.more:
            datagram.end = piece.end
        if datagram.is_whole():
            return True
        while self._frames > self._rules.frames:
            oldest = next(key for key, d in self._datagrams.items() if d.pieces)
            self._drop(oldest, Verdict.DROP_PIECE_EVICTED)
        return False

    def condemn(self, key: Key, verdict: Verdict) -> None:
        """Discard what is there of a datagram; what still comes has the same verdict."""
        datagram = self._datagrams[key]
        self._frames -= len(datagram.pieces)
        self._gone.append((verdict, dataclasses.replace(datagram)))
        datagram.pieces, datagram.condemned = [], verdict

    def take(self, key: Key) -> Datagram:
        """Remove a datagram; its frames are the caller's."""
        datagram = self._datagrams.pop(key)
        self._frames -= len(datagram.pieces)
        mine = self._clients[datagram.client]
        del mine[key]
        if not mine:
            del self._clients[datagram.client]
        return datagram

    def expire(self, now_s: float) -> None:
        """Drop the datagrams whose time is over."""
        for key, datagram in list(self._datagrams.items()):
            if now_s - datagram.since_s < self._rules.timeout_s:
                break
            self._drop(key, Verdict.DROP_PIECE_TIMEOUT)

    def gone(self) -> Iterator[tuple[Verdict, Datagram]]:
        """What had to go since the last call, and why; its frames are the caller's."""
        while self._gone:
            yield self._gone.pop(0)

    def _drop(self, key: Key, verdict: Verdict) -> None:
        self._gone.append((verdict, self.take(key)))
