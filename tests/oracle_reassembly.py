"""What must become of IPv6 fragments: rule R19, piece by piece, from RFC 8200, 5722 and 3168.

Stateful: a `Reassembly` sees bursts in order. Within a burst, datagrams that are all there and of
which nothing waits are joined first, whatever the limits; then all other pieces are looked at one
after the other.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from typing import TYPE_CHECKING, Final

from tests import oracle

if TYPE_CHECKING:
    from tests.oracle import Fate
    from tests.pipeline.worlds import ReassemblySpec, World

CHUNK, HEADROOM = 2048, 256
KEPT, JOINED = "KEPT_PIECE", "KEPT_JOINED"
ECN_CE: Final = 3


@dataclasses.dataclass(eq=False)
class Piece:
    """A fragment of an untagged frame."""

    key: bytes
    head: bytes  # Ethernet and IPv6 header
    skip: int  # octets before the piece
    follows: int
    offset: int
    more: bool
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    @property
    def ecn(self) -> int:
        return self.head[15] >> 4 & 3

    @property
    def place(self) -> tuple[int, int, bool]:
        return self.offset, self.end, self.more


def parse(frame: bytes) -> Piece:
    """Take apart a frame of which `oracle.fate` says that it is a fragment."""
    payload_len, follows = struct.unpack_from("!HB", frame, 18)
    at = 54
    while follows != 44:
        follows, at = frame[at], at + 8 + frame[at + 1] * 8
    next_header, _, field, ident = struct.unpack_from("!BBHI", frame[at:] + bytes(8))
    data = frame[at + 8 : 54 + payload_len]
    if at + 8 > 54 + payload_len:
        data = b""
    key = frame[22:54] + struct.pack("!I", ident)
    return Piece(key, frame[:54], at + 8, next_header, field & 0xFFF8, bool(field & 1), data)


def wrong(piece: Piece) -> str | None:
    """What makes a piece useless by itself."""
    if not piece.data:
        return "DROP_PIECE_MALFORMED"
    if piece.more and len(piece.data) % 8:
        return "DROP_PIECE_LENGTH"
    if piece.skip - 54 - 8 + piece.end > 65535:
        return "DROP_PIECE_END"
    found = _chain(piece) if piece.offset == 0 else None
    return found or ("DROP_PIECE_LARGE" if piece.end > CHUNK else None)


def _chain(piece: Piece) -> str | None:
    """A first piece has all headers, up to that of the IPv4 packet."""
    follows, at = piece.follows, 0
    for _ in range(4):
        whole = follows == 60 and at + 8 <= len(piece.data)
        if not whole or at + 8 + piece.data[at + 1] * 8 > len(piece.data):
            break
        follows, at = piece.data[at], at + 8 + piece.data[at + 1] * 8
    if follows not in {4, 60}:
        return "DROP_NOT_TUNNEL"
    return "DROP_PIECE_CHAIN" if follows == 60 or at + 20 > len(piece.data) else None


@dataclasses.dataclass
class Waiting:
    since_s: int
    pieces: list[Piece] = dataclasses.field(default_factory=list)
    condemned: str | None = None

    def whole(self) -> bool:
        last = [piece.end for piece in self.pieces if not piece.more]
        return bool(last) and last[0] == sum(len(piece.data) for piece in self.pieces)


@dataclasses.dataclass
class Reassembly:
    """`joined` and `ended` are those since they were last looked at."""

    world: World
    waiting: dict[bytes, Waiting] = dataclasses.field(default_factory=dict)
    joined: list[Fate] = dataclasses.field(default_factory=list)
    ended: list[str] = dataclasses.field(default_factory=list)
    now_s: int = 0

    def burst(self, frames: list[bytes], now_s: int) -> list[str]:
        """Verdicts of the frames of a burst that came by port 0."""
        self.now_s = now_s
        judged = [self._judge(frame) for frame in frames]
        verdicts = [verdict for verdict, _ in judged]
        useful = [(n, piece) for n, (_, piece) in enumerate(judged) if piece is not None]
        for number, piece in list(useful):
            if piece.offset == 0 and not piece.more:
                useful.remove((number, piece))
                verdicts[number] = self._join([piece])
        for group in self._whole(useful):
            useful = [item for item in useful if item not in group]
            verdict = self._join([piece for _, piece in group])
            for number, _ in group:
                verdicts[number] = KEPT if verdict == JOINED else verdict
            verdicts[max(number for number, _ in group)] = verdict
        for number, piece in useful:
            verdicts[number] = self._one(piece)
        return verdicts

    def _judge(self, frame: bytes) -> tuple[str, Piece | None]:
        """The verdict of a frame by itself, and the piece if it is of use."""
        verdict = oracle.fate(self.world, frame, 0, self.now_s).verdict
        if verdict != "DROP_OUTER_FRAGMENT" or not self._is_client(frame):
            return verdict, None
        piece = parse(frame)
        found = wrong(piece)
        return (found, None) if found else (KEPT, piece)

    def expire(self, now_s: int) -> None:
        limit = self.world.rules.reassembly.timeout_s
        for key in [key for key, w in self.waiting.items() if now_s - w.since_s >= limit]:
            self._drop(key, "DROP_PIECE_TIMEOUT")

    def _is_client(self, frame: bytes) -> bool:
        return frame[22:38] in {spec.client6.packed for spec in self.world.bindings.values()}

    def _whole(self, useful: list[tuple[int, Piece]]) -> list[list[tuple[int, Piece]]]:
        runs: list[list[tuple[int, Piece]]] = []
        for item in useful:
            if runs and runs[-1][-1][1].key == item[1].key:
                runs[-1].append(item)
            else:
                runs.append([item])
        if not all(self._complete(run) for run in runs):
            groups: dict[bytes, list[tuple[int, Piece]]] = {}
            for item in sorted(useful, key=lambda item: (item[1].offset, item[0])):
                groups.setdefault(item[1].key, []).append(item)
            runs = list(groups.values())
        free = (run for run in runs if run[0][1].key not in self.waiting)
        return [run for run in free if self._complete(run)]

    def _complete(self, run: list[tuple[int, Piece]]) -> bool:
        pieces = [piece for _, piece in run]
        contiguous = all(
            before.end == after.offset and before.more
            for before, after in itertools.pairwise(pieces)
        )
        few = len(pieces) <= self.world.rules.reassembly.per_datagram
        return pieces[0].offset == 0 and not pieces[-1].more and contiguous and few

    def _one(self, piece: Piece) -> str:
        waiting = self.waiting.get(piece.key) or self._admit(piece)
        if waiting.condemned:
            return waiting.condemned
        if any(p.place == piece.place and p.data == piece.data for p in waiting.pieces):
            return "DROP_PIECE_DUPLICATE"
        fault = self._fault(waiting, piece)
        if fault is not None:
            self.ended += [fault] * len(waiting.pieces)
            waiting.pieces, waiting.condemned = [], fault
            return fault
        waiting.pieces.append(piece)
        if waiting.whole():
            del self.waiting[piece.key]
            verdict = self._join(waiting.pieces)
            if verdict != JOINED:
                self.ended += [verdict] * (len(waiting.pieces) - 1)
            return verdict
        while sum(len(w.pieces) for w in self.waiting.values()) > self._limits.frames:
            oldest = next(key for key, w in self.waiting.items() if w.pieces)
            self._drop(oldest, "DROP_PIECE_EVICTED")
        return KEPT

    @property
    def _limits(self) -> ReassemblySpec:
        return self.world.rules.reassembly

    def _admit(self, piece: Piece) -> Waiting:
        mine = [key for key in self.waiting if key[:16] == piece.key[:16]]
        if len(mine) >= self._limits.per_client:
            self._drop(mine[0], "DROP_PIECE_EVICTED")
        while len(self.waiting) >= self._limits.frames:
            self._drop(next(iter(self.waiting)), "DROP_PIECE_EVICTED")
        self.waiting[piece.key] = waiting = Waiting(self.now_s)
        return waiting

    def _fault(self, waiting: Waiting, piece: Piece) -> str | None:
        """RFC 5722; a piece behind the end, or a second end, is an overlap, too."""
        overlap = any(p.offset < piece.end and piece.offset < p.end for p in waiting.pieces)
        ends = [p.end for p in waiting.pieces if not p.more]
        known = max((p.end for p in waiting.pieces), default=0)
        beyond = bool(ends) and (piece.end > ends[0] or not piece.more)
        if overlap or beyond or (not piece.more and piece.end < known):
            return "DROP_PIECE_OVERLAP"
        full = len(waiting.pieces) >= self.world.rules.reassembly.per_datagram
        return "DROP_PIECE_LIMIT" if full else None

    def _drop(self, key: bytes, verdict: str) -> None:
        self.ended += [verdict] * len(self.waiting.pop(key).pieces)

    def _join(self, pieces: list[Piece]) -> str:
        pieces = sorted(pieces, key=lambda piece: piece.offset)
        marks = {piece.ecn for piece in pieces}
        larger = pieces[-1].end > CHUNK - HEADROOM - pieces[0].skip
        if ECN_CE in marks and 0 in marks and not larger:
            return "DROP_PIECE_ECN"
        if larger:
            return "DROP_PIECE_LARGE" if not {0, 3} <= marks else "DROP_PIECE_ECN"
        first = pieces[0]
        ecn = ECN_CE if ECN_CE in marks else first.ecn
        data = b"".join(piece.data for piece in pieces)
        head = bytearray(first.head)
        head[15] = head[15] & 0xCF | ecn << 4
        head[18:21] = struct.pack("!HB", len(data), first.follows)
        self.joined.append(oracle.fate(self.world, bytes(head) + data, 0, self.now_s))
        return JOINED
