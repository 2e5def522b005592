"""IPv6 fragments of tunnel packets: joined, and worked on once more as whole packets (R19).

Datagrams whose pieces are all in one burst, which is usual, are joined as columns. The others wait
in a `FragmentStore`, for which a fixed number of pieces is looked at in a burst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import fragments, joining
from dstmrouter.pipeline.copying import copy
from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.fragment_store import Datagram, FragmentStore, Key, Piece
from dstmrouter.pipeline.keyed import drawn, mixed
from dstmrouter.pipeline.outcome import Ended, Late, Outcome
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.pipeline.clients6 import ClientSet
    from dstmrouter.pipeline.fragments import Fragments
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.rare import Arrivals
    from dstmrouter.pipeline.rules import ReassemblyRules

BUDGET: Final = 64  # pieces for the store in a burst; each takes 4 us
_OFFSET_BITS: Final = np.uint64(13)
_UNIT_BITS: Final = np.uint64(3)  # offsets count 8 octets


class Reassembler:
    """A step for rare packets; keeps the pieces that wait."""

    turn_step = TurnStep.REASSEMBLY
    verdicts = (Verdict.DROP_OUTER_FRAGMENT,)

    def __init__(
        self,
        memory: FrameMemory,
        clients: ClientSet,
        rules: ReassemblyRules,
        chunk_size: int,
        seed: bytes,
    ) -> None:
        self._memory = memory
        self._clients = clients
        self._rules = rules
        self._chunk_size = chunk_size
        self._store = FragmentStore(rules)
        self._key = drawn(seed, "fragments")
        self.on_timeout: Callable[[Piece, float, Outcome], None] = lambda *_: None
        """Called with first pieces whose datagrams were not whole in time, and the time."""

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Join what can be joined, keep what may be kept."""
        verdicts = outcome.verdicts
        known = np.flatnonzero(self._clients.has(fragments.sources(self._memory, arrivals.at)))
        if len(known) < len(arrivals.rows):
            arrivals = arrivals.take(known)
        if not len(known):
            return
        pieces = fragments.read(self._memory, arrivals)
        keep = survivors(
            fragments.checks(self._memory, pieces, self._chunk_size), verdicts, pieces.rows
        )
        if keep is not None:
            pieces = pieces.take(keep)
        if len(pieces):
            rest = self._join_atomic(pieces, arrivals.port, outcome)
            rest = self._join_in_burst(rest, arrivals.port, outcome)
            self._keep(rest, arrivals.port, now_s, outcome)
            self._let_go(now_s, outcome)

    def expire(self, now_s: float, outcome: Outcome) -> None:
        """Give up datagrams that were not whole in time."""
        self._store.expire(now_s)
        self._let_go(now_s, outcome)

    def held(self) -> int:
        """How many frames wait."""
        return self._store.frames

    # Within a burst ----------------------------------------------------------------------------

    def _join_atomic(self, pieces: Fragments, port: int, outcome: Outcome) -> Fragments:
        """Fragments that are all of their datagrams are nobody else's (RFC 6946 section 4)."""
        atomic = (pieces.offset == 0) & ~pieces.more
        keep = np.flatnonzero(atomic)
        if not len(keep):
            return pieces
        each = np.arange(len(keep))
        self._join(pieces.take(keep), each, each, port, outcome)
        return pieces.take(np.flatnonzero(~atomic))

    def _join_in_burst(self, pieces: Fragments, port: int, outcome: Outcome) -> Fragments:
        """Join the datagrams that are all there; return the other pieces as they came."""
        if len(pieces) < 2:
            return pieces
        ordered, order = pieces, np.arange(len(pieces))
        starts, whole = self._whole_groups(ordered)
        if not whole.all():  # else they came one behind the other, as they mostly do
            order = np.argsort(self._hashes(pieces), kind="stable")
            ordered = pieces.take(order)
            starts, whole = self._whole_groups(ordered)
        there = np.flatnonzero(whole)
        if not len(there):
            return pieces
        if len(self._store):
            whole[there] = [key not in self._store for key in _keys(ordered.take(starts[there]))]
            if not np.count_nonzero(whole):
                return pieces
        group = np.zeros(len(ordered), np.intp)
        group[starts[1:]] = 1
        group = np.cumsum(group)
        chosen = whole[group]
        if not chosen.all():
            rest = pieces.take(np.sort(order[~chosen]))
            ordered = ordered.take(np.flatnonzero(chosen))
            group = np.cumsum(whole)[group[chosen]] - 1
        else:
            rest = pieces.take(order[:0])
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        self._join(ordered, starts, group, port, outcome)
        return rest

    def _hashes(self, pieces: Fragments) -> npt.NDArray[np.uint64]:
        """Numbers that sort pieces by their datagrams, and within these by their offsets."""
        words = np.empty((len(pieces), 2), np.uint64)
        words[:, 0] = mixed(pieces.src, self._key)
        words[:, 1] = mixed(pieces.dst, self._key) + pieces.ident
        hashes = mixed(words, self._key) >> _OFFSET_BITS << _OFFSET_BITS
        return hashes | pieces.offset.astype(np.uint64) >> _UNIT_BITS

    def _whole_groups(self, ordered: Fragments) -> tuple[Index, npt.NDArray[np.bool_]]:
        """Where the datagrams begin among ordered pieces, and which of them are whole."""
        same = np.zeros(len(ordered), np.bool_)  # as the one before
        same[1:] = ordered.ident[1:] == ordered.ident[:-1]
        for words in (ordered.src, ordered.dst):
            same[1:] &= words[1:, 0] == words[:-1, 0]
            same[1:] &= words[1:, 1] == words[:-1, 1]
        fits = same.copy()
        fits[1:] &= (ordered.offset[1:] == ordered.end[:-1]) & ordered.more[:-1]
        starts = np.flatnonzero(~same)
        fits[starts] = ordered.offset[starts] == 0
        ends = np.append(starts[1:], len(ordered))
        whole = np.logical_and.reduceat(fits, starts) & ~ordered.more[ends - 1]
        return starts, whole & (ends - starts <= self._rules.per_datagram)

    def _join(
        self, ordered: Fragments, starts: Index, group: Index, port: int, outcome: Outcome
    ) -> None:
        """Join whole datagrams, whose pieces stand one behind the other in `ordered`."""
        last = np.append(starts[1:], len(ordered)) - 1
        total, first = ordered.end[last], ordered.take(starts)
        marks = joining.ECN_OF[np.bitwise_or.reduceat(np.uint8(1) << ordered.ecn, starts)]
        room = self._chunk_size - first.data_at % self._chunk_size
        refused = np.where(total > room, Verdict.DROP_PIECE_LARGE, 0).astype(np.uint8)
        refused[marks == joining.DROP] = Verdict.DROP_PIECE_ECN
        if np.count_nonzero(refused):
            outcome.verdicts[ordered.rows] = refused[group]
            keep = np.flatnonzero(refused == 0)
            if not len(keep):
                return
            chosen = refused[group] == 0
            ordered, group = ordered.take(np.flatnonzero(chosen)), group[chosen]
            group = (np.cumsum(refused == 0) - 1)[group]
            starts = np.flatnonzero(np.diff(group, prepend=-1))
            total, first, marks = total[keep], first.take(keep), marks[keep]
        outcome.verdicts[ordered.rows] = Verdict.KEPT_PIECE
        outcome.verdicts[np.maximum.reduceat(ordered.rows, starts)] = Verdict.KEPT_JOINED
        later = np.ones(len(ordered), np.bool_)
        later[starts] = False
        later_at = np.flatnonzero(later)
        to = first.data_at[group[later_at]] + ordered.offset[later_at]
        copy(self._memory, to, ordered.data_at[later_at], ordered.size[later_at])
        firsts = first.at, first.at + first.link_len, first.data_at
        outcome.late.append(Late(port, *joining.finish(self._memory, firsts, total, marks)))
        outcome.released.append(ordered.at[later_at])

    # Over several bursts -----------------------------------------------------------------------

    def _keep(self, pieces: Fragments, port: int, now_s: float, outcome: Outcome) -> None:
        """Put pieces into the store one by one, in the order in which they came."""
        if len(pieces) > BUDGET:
            outcome.verdicts[pieces.rows[BUDGET:]] = Verdict.DROP_PIECE_BUDGET
            pieces = pieces.take(np.arange(BUDGET))
        columns = (
            pieces.at,
            pieces.length,
            pieces.link_len,
            pieces.data_at,
            pieces.offset,
            pieces.end,
            pieces.more,
            pieces.ecn,
        )
        values = zip(*(column.tolist() for column in columns), strict=True)
        for row, key, (at, length, *more) in zip(
            pieces.rows.tolist(), _keys(pieces), values, strict=True
        ):
            piece = Piece(at, length, port, *more)
            outcome.verdicts[row] = self._keep_one(key, piece, now_s, outcome)

    def _keep_one(self, key: Key, piece: Piece, now_s: float, outcome: Outcome) -> Verdict:
        datagram = self._store.datagram(key, now_s)
        if datagram.condemned is not None:
            return datagram.condemned
        twin = datagram.twin(piece)
        if twin is not None and self._octets(twin) == self._octets(piece):
            return Verdict.DROP_PIECE_DUPLICATE
        wrong = None
        if datagram.clashes(piece):
            wrong = Verdict.DROP_PIECE_OVERLAP
        elif len(datagram.pieces) >= self._rules.per_datagram:
            wrong = Verdict.DROP_PIECE_LIMIT
        if wrong is not None:
            self._store.condemn(key, wrong)
            return wrong
        if not self._store.keep(key, piece):
            return Verdict.KEPT_PIECE
        return self._join_one(self._store.take(key), piece, outcome)

    def _join_one(self, datagram: Datagram, newest: Piece, outcome: Outcome) -> Verdict:
        """Join a datagram that has become whole; all its frames are ours but the newest."""
        pieces = sorted(datagram.pieces, key=lambda piece: piece.offset)
        first, others = pieces[0], [p for p in pieces if p is not newest]
        seen = np.bitwise_or.reduce([1 << piece.ecn for piece in pieces])
        mark, total = joining.ECN_OF[[seen]], pieces[-1].end
        wrong = None
        if mark[0] == joining.DROP:
            wrong = Verdict.DROP_PIECE_ECN
        elif total > self._chunk_size - first.data_at % self._chunk_size:
            wrong = Verdict.DROP_PIECE_LARGE
        if wrong is not None:
            outcome.ended.append(_ended([wrong] * len(others), others))
            return wrong
        for piece in pieces[1:]:
            size = piece.end - piece.offset
            records = self._memory.records(size)
            records[first.data_at + piece.offset] = records[piece.data_at]
        firsts = (
            np.array([first.at]),
            np.array([first.at + first.link_len]),
            np.array([first.data_at]),
        )
        frame = joining.finish(self._memory, firsts, np.array([total]), mark)
        outcome.late.append(Late(first.port, *frame))
        outcome.released.append(np.array([p.at for p in pieces[1:]], np.intp))
        return Verdict.KEPT_JOINED

    def _octets(self, piece: Piece) -> bytes:
        octets: bytes = self._memory.records(piece.end - piece.offset)[piece.data_at].tobytes()
        return octets

    def _let_go(self, now_s: float, outcome: Outcome) -> None:
        """Give back the frames of what had to go."""
        pieces: list[Piece] = []
        verdicts: list[Verdict] = []
        for verdict, datagram in self._store.gone():
            first = datagram.first
            if verdict is Verdict.DROP_PIECE_TIMEOUT and first is not None:
                self.on_timeout(first, now_s, outcome)
            pieces += datagram.pieces
            verdicts += [verdict] * len(datagram.pieces)
        if pieces:
            outcome.ended.append(_ended(verdicts, pieces))


def _keys(pieces: Fragments) -> list[Key]:
    columns = (*pieces.src.T, *pieces.dst.T, pieces.ident)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _ended(verdicts: list[Verdict], pieces: list[Piece]) -> Ended:
    return Ended(
        np.array(verdicts, np.uint8),
        np.array([piece.at for piece in pieces], np.intp),
        np.array([piece.length for piece in pieces], np.int64),
    )
