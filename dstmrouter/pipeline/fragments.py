"""IPv6 fragments of tunnel packets as columns, and what is wrong with single ones (R19)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.options import skip_options
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether, ipv4, ipv6

if TYPE_CHECKING:
    from dstmrouter.binding import Words6
    from dstmrouter.pipeline.decide import Checks
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.rare import Arrivals


@dataclasses.dataclass(slots=True)
class Fragments:
    """Columns of n fragments."""

    rows: Index  # which frames of the burst
    at: Index  # where the frame starts, octets of frame memory
    length: npt.NDArray[np.int64]  # octets of the frame
    link_len: Index  # octets of its Ethernet header
    data_at: Index  # where the piece starts
    size: npt.NDArray[np.int64]  # its octets
    offset: npt.NDArray[np.int64]  # octets from the start of the datagram
    more: npt.NDArray[np.bool_]  # pieces follow
    follows: npt.NDArray[np.uint8]  # Next Header of the fragment header
    src: Words6
    dst: Words6
    ident: npt.NDArray[np.uint64]
    ecn: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def end(self) -> npt.NDArray[np.int64]:
        """Octets from the start of the datagram to the end of the piece."""
        return self.offset + self.size

    def take(self, keep: Index) -> Fragments:
        """Those at the positions `keep`."""
        columns = (getattr(self, field.name)[keep] for field in dataclasses.fields(self))
        return Fragments(*columns)


def sources(memory: FrameMemory, at: Index) -> Words6:
    """Where the packets in frames at `at` come from."""
    src: Words6 = memory.read(at + _link_lens(memory, at), ipv6.HEADER)["src"]
    return src


def _link_lens(memory: FrameMemory, at: Index) -> Index:
    tagged = memory.read(at + ether.TYPES_AT, ether.TYPES)["type"] == ether.ETHERTYPE_VLAN
    return np.where(tagged, ether.TAGGED_LEN, ether.HEADER_LEN)


def read(memory: FrameMemory, arrivals: Arrivals) -> Fragments:
    """Read frames that were found to hold fragment headers, and to be whole."""
    at = arrivals.at
    link_len = _link_lens(memory, at)
    ip_at = at + link_len
    header = memory.read(ip_at, ipv6.HEADER)
    end = header["payload_len"] + np.int64(ipv6.HEADER_LEN)
    next_header = header["next_header"].copy()
    skip = np.full(len(at), ipv6.HEADER_LEN, np.intp)
    if np.count_nonzero(next_header != ipv6.NEXT_FRAGMENT):
        skip_options(memory, ip_at, end, next_header, skip)
    data_at = ip_at + skip + ipv6.FRAGMENT_LEN
    fragment = memory.read(ip_at + skip, ipv6.FRAGMENT)
    field = fragment["offset"].astype(np.int64)
    return Fragments(
        rows=arrivals.rows,
        at=at,
        length=arrivals.length,
        link_len=link_len,
        data_at=data_at,
        size=end - skip - ipv6.FRAGMENT_LEN,
        offset=field & ipv6.OFFSET_MASK,
        more=field & ipv6.FLAG_MORE != 0,
        follows=fragment["next_header"],
        src=header["src"],
        dst=header["dst"],
        ident=fragment["id"].astype(np.uint64),
        ecn=ipv6.TRAFFIC_CLASS.take(header["first_octets"]) & np.uint8(3),
    )


def checks(memory: FrameMemory, pieces: Fragments, chunk_size: int) -> Checks:
    """What makes a fragment useless by itself; larger datagrams than `chunk_size` never fit."""
    unfragmentable = pieces.data_at - pieces.at - pieces.link_len - ipv6.FRAGMENT_LEN
    payload_len = unfragmentable - ipv6.HEADER_LEN + pieces.end
    no_tunnel, incomplete = _first_pieces(memory, pieces)
    return (
        (pieces.size <= 0, Verdict.DROP_PIECE_MALFORMED),
        (pieces.more & (pieces.size % 8 != 0), Verdict.DROP_PIECE_LENGTH),
        (payload_len > ipv6.MAX_PAYLOAD, Verdict.DROP_PIECE_END),
        (no_tunnel, Verdict.DROP_NOT_TUNNEL),
        (incomplete, Verdict.DROP_PIECE_CHAIN),
        (pieces.end > chunk_size, Verdict.DROP_PIECE_LARGE),
    )


def _first_pieces(
    memory: FrameMemory, pieces: Fragments
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """First pieces that lead to no IPv4 packet, and those that do not reach its header."""
    first = pieces.offset == 0
    follows, skip = pieces.follows.copy(), np.zeros(len(pieces), np.intp)
    if np.count_nonzero(follows == ipv6.NEXT_DESTINATION_OPTIONS):
        follows[~first | (follows == ipv6.NEXT_HOP_BY_HOP)] = ipv6.NEXT_NONE
        skip_options(memory, pieces.data_at, pieces.size, follows, skip)
    cut = follows == ipv6.NEXT_DESTINATION_OPTIONS
    to_ipv4 = follows == ipv6.NEXT_IPV4
    short = skip + ipv4.HEADER_LEN > pieces.size
    return first & ~(to_ipv4 | cut), first & (cut | to_ipv4 & short)
