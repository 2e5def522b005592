"""IPv4 packets cut into IPv4 fragments (RFC 791 section 3.2, RFC 1812 section 4.2.2.7; R18).

For packets that left their tunnel for a smaller link, and for those into a tunnel where the
operator wants it. The first piece stays where it is.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.copying import copy
from dstmrouter.pipeline.inner import Inner
from dstmrouter.pipeline.memory import pick
from dstmrouter.pipeline.pieces import UNIT, Pieces, cut, whole_units
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import checksum, ipv4

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.rare import FrameSource

OPTIONS_BUDGET: Final = 32  # packets with options that are cut in one burst; each takes 10 us
_END, _NO_OPERATION, _COPIED = 0, 1, 0x80  # RFC 791 section 3.1: options
_FLAG_MF: Final = 0x2000


@dataclasses.dataclass(slots=True)
class Cut:
    """What became of n packets."""

    kept: Index  # positions of those that were cut
    first: Inner  # their first pieces, by columns
    later: Inner  # all others, in frames of their own
    of: Index  # of which of `kept` each of `later` is a piece


class Fragmenter4:
    """Cuts IPv4 packets."""

    def __init__(self, memory: FrameMemory, frames: FrameSource) -> None:
        self._memory = memory
        self._frames = frames

    def cut(
        self, packets: Inner, mtus: npt.NDArray[np.int64], verdicts: npt.NDArray[np.uint8]
    ) -> Cut:
        """Cut n packets into pieces of `mtus` octets at most, shape (n,); all are larger.

        `verdicts`, shape (n,), is set for those that are not cut.
        """
        kept = self._cuttable(packets, verdicts)
        packets, mtus = packets.take(kept), mtus[kept]
        header_len = ipv4.header_len(packets.header["version_ihl"])
        step = whole_units(mtus - header_len)
        if not len(kept):
            return Cut(kept, packets, packets, kept)
        pieces, served = cut(self._frames, packets.total_len - header_len, step)
        if served is not None:
            verdicts[np.delete(kept, served)] = Verdict.DROP_NO_FRAME
            kept, packets = kept[served], packets.take(served)
            header_len, step = header_len[served], step[served]
        later = self._later(packets, header_len, pieces)
        first = packets.take(np.arange(len(kept)))
        _describe(first, header_len + step, first.header["fragment"] | ipv4.FLAG_MF)
        return Cut(kept, first, later, pieces.of)

    @staticmethod
    def _cuttable(packets: Inner, verdicts: npt.NDArray[np.uint8]) -> Index:
        """Those whose pieces have offsets that exist; with options, only the first few."""
        fragment = packets.header["fragment"].byteswap().astype(np.int64)
        end = (fragment & ipv4.OFFSET_MASK) * UNIT + packets.total_len
        beyond = end > ipv4.MAX_LEN
        options = np.flatnonzero(packets.header["version_ihl"] != ipv4.VERSION_IHL)
        verdicts[beyond] = Verdict.DROP_V4_MALFORMED
        left = np.ones(len(packets), np.bool_)
        left[beyond] = False
        left[options[OPTIONS_BUDGET:]] = False
        verdicts[options[OPTIONS_BUDGET:]] = Verdict.DROP_CUT_BUDGET
        return np.flatnonzero(left)

    def _later(self, packets: Inner, header_len: npt.NDArray[np.int64], pieces: Pieces) -> Inner:
        """Put the later pieces into their frames, without their first 20 octets."""
        of = pieces.of
        header = pick(packets.header, of)
        new_len = np.full(len(of), ipv4.HEADER_LEN)
        copied = self._copied_options(packets, header_len)
        for piece in np.flatnonzero(np.isin(of, list(copied))) if copied else ():
            options = copied[int(of[piece])]
            at = int(pieces.ip_at[piece]) + ipv4.HEADER_LEN
            self._memory.records(len(options))[at] = np.void(options)
            new_len[piece] += len(options)
        source = packets.at[of] + header_len[of] + pieces.start
        copy(self._memory, pieces.ip_at + new_len, source, pieces.size)
        later = Inner(pieces.ip_at, header, packets.total_len[of], packets.dst[of])
        ends = pieces.start + pieces.size == packets.total_len[of] - header_len[of]
        fragment = header["fragment"].byteswap() + (pieces.start // UNIT).astype(np.uint16)
        fragment = np.where(ends, fragment, fragment | _FLAG_MF).astype(np.uint16)
        _describe(later, new_len + pieces.size, fragment.byteswap())
        self._sum_anew(later, header_len[of], new_len)
        return later

    def _copied_options(
        self, packets: Inner, header_len: npt.NDArray[np.int64]
    ) -> dict[int, bytes]:
        """Options of later pieces, by packet, for packets with options."""
        found = {}
        for number in np.flatnonzero(header_len > ipv4.HEADER_LEN).tolist():
            size = int(header_len[number]) - ipv4.HEADER_LEN
            at = int(packets.at[number]) + ipv4.HEADER_LEN
            options = copied_options(self._memory.records(size)[at].tobytes())
            if options:
                found[number] = options
        return found

    def _sum_anew(
        self, packets: Inner, old_len: npt.NDArray[np.int64], new_len: npt.NDArray[np.int64]
    ) -> None:
        """Checksums and lengths of headers whose options have changed."""
        for row in np.flatnonzero(old_len > ipv4.HEADER_LEN).tolist():
            size = int(new_len[row])
            header = packets.header[row : row + 1]
            header["version_ihl"] = 0x40 | size // 4
            header["checksum"] = 0
            octets = bytearray(header["octets"].tobytes())
            if size > ipv4.HEADER_LEN:
                at = int(packets.at[row]) + ipv4.HEADER_LEN
                octets += self._memory.records(size - ipv4.HEADER_LEN)[at].tobytes()
            total = int.from_bytes(octets, "big") % 0xFFFF
            header["checksum"] = (0xFFFF - total) % 0xFFFF


def copied_options(options: bytes) -> bytes:
    """Those with the copied flag, padded to a multiple of four; up to what makes no sense."""
    kept, at = b"", 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2 or at + size > len(options):
            break
        if options[at] & _COPIED:
            kept += options[at : at + size]
        at += size
    return kept + bytes(-len(kept) % 4)


def _describe(
    packets: Inner, total_len: npt.NDArray[np.int64], fragment: npt.NDArray[np.uint16]
) -> None:
    """Set total length and fragment field (octets not swapped), and update the checksum."""
    header = packets.header
    before = header["fragment"].byteswap().astype(np.int64)
    less = packets.total_len - total_len + before - fragment.byteswap().astype(np.int64)
    header["checksum"] = checksum.updated(header["checksum"].astype(np.int64), less)
    header["total_len"], header["fragment"] = total_len, fragment
    packets.total_len, packets.plain = total_len, False
