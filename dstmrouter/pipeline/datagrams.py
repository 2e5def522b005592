"""What is known of IPv4 datagrams that come in pieces to or from shared addresses (R20).

Only the first piece has ports. They are remembered for the others, with what part of the datagram
has come: pieces that overlap, or that would hide ports or flags, end it (RFC 1858, RFC 3128). The
pieces themselves are forwarded one by one; nothing is put together here.

No I/O and no clock; bounded in everything. Per datagram there is one Python object of about 500
octets, so all of it takes 4 MB at most.
"""

from __future__ import annotations

import dataclasses
from typing import Final, TypeAlias

Name: TypeAlias = tuple[int, int, int, int]
"""Both addresses, protocol and identification, and the client it comes from (0, 0: from outside).

With the client in it, those who share an address cannot meddle in each other's datagrams.
"""

DATAGRAMS: Final = 8192
LIFETIME_S: Final = 15  # RFC 1122 section 3.3.2 has receivers wait 60; few wait that long
PIECES: Final = 64  # of one datagram: 65,535 octets in packets of 1,044
MAX_LEN: Final = 65_535 - 20  # octets behind the IPv4 header


@dataclasses.dataclass(slots=True)
class Piece:
    """Where it belongs, in octets; `more` says that it is not the last one."""

    start: int
    size: int
    more: bool

    @property
    def end(self) -> int:
        """The octet behind it."""
        return self.start + self.size


@dataclasses.dataclass(slots=True)
class _Datagram:
    ports: int
    until: float  # seconds on the router's clock
    seen: list[tuple[int, int]]  # first octet and the one behind the last, of each piece
    broken: bool = False


class Datagrams:
    """The datagrams of which the first piece was forwarded, oldest first."""

    def __init__(self) -> None:
        self._known: dict[Name, _Datagram] = {}

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, name: Name, piece: Piece, ports: int, now_s: float) -> None:
        """Remember the ports of a first piece of what has not `begun`.

        Room is made by forgetting the oldest.
        """
        self._known.pop(name, None)  # it is over, and the new one is the youngest
        if len(self._known) >= DATAGRAMS:
            del self._known[next(iter(self._known))]
        self._known[name] = _Datagram(ports, now_s + LIFETIME_S, [(piece.start, piece.end)])

    def begun(self, name: Name, now_s: float) -> bool:
        """Whether the first piece is known."""
        known = self._known.get(name)
        return known is not None and known.until > now_s

    def go_on(self, name: Name, piece: Piece) -> int | None:
        """The ports of the datagram that a later piece belongs to; None if it must not go on.

        Ask only for what has `begun`.
        """
        known = self._known[name]
        overlaps = any(start < piece.end and piece.start < end for start, end in known.seen)
        if overlaps and (piece.start, piece.end) not in known.seen:
            known.broken = True
        if known.broken or overlaps or len(known.seen) >= PIECES:
            return None
        known.seen.append((piece.start, piece.end))
        return known.ports

    def expire(self, now_s: float) -> None:
        """Forget what is over."""
        while self._known:
            name, oldest = next(iter(self._known.items()))
            if oldest.until > now_s:
                return
            del self._known[name]


def is_odd(piece: Piece, *, tcp: bool) -> bool:
    """Whether a piece cannot be part of an honest datagram."""
    return (
        piece.size <= 0
        or piece.end > MAX_LEN
        or (piece.more and piece.size % 8 != 0)
        or (tcp and piece.start == 8)  # RFC 1858 section 4: it would overwrite the flags
    )
