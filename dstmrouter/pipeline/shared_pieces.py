"""IPv4 fragments of shared addresses: a step behind the pass (R20, RFC 7597 section 8.3.2).

The pass cannot tell whose a fragment of a shared address is. This step looks for its ports, in the
first piece or in what is known of its datagram (`datagrams`), and has the pass work on it once more
with them: all other rules are the same as for whole packets. Only a first piece that was forwarded
makes a datagram known. A later piece that comes before it waits for two seconds at most; what does
not fit the limits is dropped and counted.

All pieces of a datagram must come by one queue: NICs spread fragments by their addresses alone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.datagrams import Datagrams, Name, Piece, is_odd
from dstmrouter.pipeline.outcome import Late, Noted, Outcome
from dstmrouter.pipeline.portkeys import HAS_PORTS, IS_QUERY
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep
from dstmrouter.wire import ipv4

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.portsets import PortSets
    from dstmrouter.pipeline.rare import Arrivals
    from dstmrouter.pipeline.reread import Rereader

BURST: Final = 128  # pieces that are looked at of one burst
WAITING: Final = 512  # frames that wait for first pieces, of all datagrams
WAITING_EACH: Final = 16  # of one datagram
WAIT_S: Final = 2
_HEAD: Final = np.dtype([("type", "u1"), ("code", "u1"), ("sum", ">u2"), ("ident", ">u2")])
_PORTS: Final = np.dtype([("ports", ">u4")])
_PORTS_LEN, _IDENT_LEN = 4, 8  # octets that a first piece must have, for the key to be there
_TCP: Final = 6
NO_KEY: Final = -1
_FORWARDED: Final = np.zeros(256, np.bool_)
_FORWARDED[[verdict for verdict in Verdict if verdict.forwarded]] = True


class Pass(Protocol):
    """The pass over a burst, without the steps behind it."""

    def __call__(
        self, at: Index, length: npt.NDArray[np.int64], port: int, now_s: int, /
    ) -> Outcome:
        """As `Forwarder.process`."""
        ...


@dataclasses.dataclass(slots=True)
class _Seen:
    """One piece of a burst."""

    row: int  # of the arrivals
    ip_at: int  # where its IPv4 header starts
    name: Name
    piece: Piece
    protocol: int
    key: int  # of a first piece: both ports, or NO_KEY
    has_key: bool  # it is long enough for that


@dataclasses.dataclass(slots=True)
class _Waiting:
    port: int
    at: int
    length: int
    until: float


class SharedPieces:
    """The step; keeps frames, and what is known of datagrams."""

    turn_step = TurnStep.SHARED_PIECES
    verdicts: Collection[int] = (Verdict.DROP_FRAGMENT_SHARED,)

    def __init__(self, reread: Rereader, port_sets: PortSets, again: Pass) -> None:
        self._reread = reread
        self._port_sets = port_sets
        self._again = again
        self._datagrams = Datagrams()
        self._waiting: dict[Name, list[_Waiting]] = {}
        self._held = 0

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Forward pieces, keep them, or say why not."""
        outcome.verdicts[arrivals.rows[BURST:]] = Verdict.DROP_FRAGMENT_FLOOD
        arrivals = arrivals.take(slice(BURST))
        seen = self._read(arrivals)
        verdicts = outcome.verdicts
        for one in list(seen):
            if is_odd(one.piece, tcp=one.protocol == _TCP):
                verdicts[arrivals.rows[one.row]] = Verdict.DROP_FRAGMENT_ODD
                seen.remove(one)
        firsts = [one for one in seen if one.piece.start == 0]
        self._begin(firsts, arrivals, now_s, outcome)
        self._go_on([one for one in seen if one.piece.start], arrivals, now_s, outcome)

    def expire(self, now_s: float, outcome: Outcome) -> None:
        """Give up what has waited for too long."""
        self._datagrams.expire(now_s)
        over = [one for waiting in self._waiting.values() for one in waiting if one.until <= now_s]
        if not over:
            return
        left = {
            name: [one for one in waiting if one.until > now_s]
            for name, waiting in self._waiting.items()
        }
        self._waiting = {name: waiting for name, waiting in left.items() if waiting}
        self._held -= len(over)
        outcome.released.append(np.array([one.at for one in over], np.intp))
        octets = sum(one.length for one in over)
        outcome.noted.append(Noted(Verdict.DROP_FRAGMENT_SHARED, len(over), octets))

    def held(self) -> int:
        """How many frames wait."""
        return self._held

    def _begin(
        self, firsts: list[_Seen], arrivals: Arrivals, now_s: float, outcome: Outcome
    ) -> None:
        """Forward first pieces, and whatever has waited for them."""
        verdicts, rows = outcome.verdicts, arrivals.rows
        going, begun = [], set()
        for one in firsts:
            if one.key == NO_KEY or not one.has_key:
                tiny = _has_key(one.protocol) and not one.has_key
                verdict = Verdict.DROP_FRAGMENT_ODD if tiny else Verdict.DROP_NO_PORT
                verdicts[rows[one.row]] = verdict
            elif one.name in begun or self._datagrams.begun(one.name, now_s):
                verdicts[rows[one.row]] = Verdict.DROP_FRAGMENT_ODD
            else:
                going.append((one, one.key))
                begun.add(one.name)
        self._forward(going, arrivals, now_s, outcome)
        for one, ports in going:
            if _FORWARDED[verdicts[rows[one.row]]]:
                self._datagrams.begin(one.name, one.piece, ports, now_s)
                self._release(one.name, outcome)

    def _go_on(
        self, later: list[_Seen], arrivals: Arrivals, now_s: float, outcome: Outcome
    ) -> None:
        """Forward later pieces of known datagrams; the others have to wait."""
        going = []
        for one in later:
            row = arrivals.rows[one.row]
            if not self._datagrams.begun(one.name, now_s):
                outcome.verdicts[row] = self._keep(one, arrivals, now_s)
                continue
            ports = self._datagrams.go_on(one.name, one.piece)
            if ports is None:
                outcome.verdicts[row] = Verdict.DROP_FRAGMENT_ODD
            else:
                going.append((one, ports))
        self._forward(going, arrivals, now_s, outcome)

    def _keep(self, one: _Seen, arrivals: Arrivals, now_s: float) -> Verdict:
        if not _has_key(one.protocol):
            return Verdict.DROP_NO_PORT
        waiting = self._waiting.get(one.name, [])
        if self._held >= WAITING or len(waiting) >= WAITING_EACH:
            return Verdict.DROP_FRAGMENT_FLOOD
        at, length = int(arrivals.at[one.row]), int(arrivals.length[one.row])
        kept = _Waiting(arrivals.port, at, length, now_s + WAIT_S)
        self._waiting.setdefault(one.name, waiting).append(kept)
        self._held += 1
        return Verdict.KEPT_FRAGMENT

    def _release(self, name: Name, outcome: Outcome) -> None:
        """Have what waited for a first piece worked on, as frames that come in now."""
        waiting = self._waiting.pop(name, [])
        self._held -= len(waiting)
        for port in {one.port for one in waiting}:
            mine = [one for one in waiting if one.port == port]
            at = np.array([one.at for one in mine], np.intp)
            outcome.late.append(Late(port, at, np.array([one.length for one in mine], np.int64)))

    def _forward(
        self, going: list[tuple[_Seen, int]], arrivals: Arrivals, now_s: float, outcome: Outcome
    ) -> None:
        """Have the pass work on pieces again, now that their ports are known."""
        if not going:
            return
        mine = np.array([one.row for one, _ in going], np.intp)
        at = np.array([one.ip_at for one, _ in going], np.intp)
        ports = np.array([ports for _, ports in going], np.uint32)
        with self._port_sets.told(at, ports):
            part = self._again(arrivals.at[mine], arrivals.length[mine], arrivals.port, int(now_s))
        outcome.add(part, arrivals.rows[mine])

    def _read(self, arrivals: Arrivals) -> list[_Seen]:
        """What the headers of pieces say; R1 has been checked."""
        plain, tunnelled = self._reread.split(arrivals)
        seen = []
        if plain is not None:
            client6 = np.zeros((len(plain.rows), 2), np.uint64)
            seen += _read(self._reread.memory, self._reread.inner(plain.at), plain.rows, client6)
        if tunnelled is not None:
            outer = self._reread.outer(tunnelled)
            inners = self._reread.inner(outer.inner_at)
            seen += _read(self._reread.memory, inners, tunnelled.rows, outer.header["src"])
        return seen


def _has_key(protocol: int) -> bool:
    return bool(HAS_PORTS[protocol]) or protocol == ipv4.PROTOCOL_ICMP


def _read(
    memory: FrameMemory, packets: Inner, rows: Index, client6: npt.NDArray[np.uint64]
) -> list[_Seen]:
    header = packets.header
    header_len = ipv4.header_len(header["version_ihl"])
    fragment = header["fragment"].byteswap()
    starts = (fragment & ipv4.OFFSET_MASK).astype(np.int64) * 8
    sizes = packets.total_len - header_len
    which = header["protocol"].astype(np.int64) << 16 | header["id"]
    names = header["addresses"], which, client6[:, 0], client6[:, 1]
    keys, whole = _keys(memory, packets.at + header_len, sizes, header["protocol"])
    places = starts, sizes, fragment & ipv4.MORE_MASK != 0
    columns = (rows, packets.at, header["protocol"], keys, whole, *names, *places)
    seen = []
    for line in zip(*(column.tolist() for column in columns), strict=True):
        row, at, protocol, key, has_key, *rest = line
        name, piece = (rest[0], rest[1], rest[2], rest[3]), Piece(*rest[4:])
        seen.append(_Seen(row, at, name, piece, protocol, key, has_key))
    return seen


def _keys(
    memory: FrameMemory, at: Index, sizes: npt.NDArray[np.int64], protocol: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """What first pieces have in the place of both ports, or NO_KEY; and whether it is all there."""
    icmp = memory.read(at, _HEAD)
    ident = icmp["ident"].astype(np.int64) * 0x10001
    ports = memory.read(at, _PORTS)["ports"].astype(np.int64)
    is_icmp = protocol == ipv4.PROTOCOL_ICMP
    known = np.where(is_icmp, IS_QUERY.take(icmp["type"]), HAS_PORTS.take(protocol))
    keys = np.where(known, np.where(is_icmp, ident, ports), NO_KEY)
    return keys, sizes >= np.where(is_icmp, _IDENT_LEN, _PORTS_LEN)
