"""What ICMPv6 errors quote of tunnel packets that we sent, and whether it can be ours (R22)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import inner
from dstmrouter.pipeline.inner import Inner
from dstmrouter.pipeline.memory import pick
from dstmrouter.pipeline.options import skip_options
from dstmrouter.wire import icmp, ipv4, ipv6

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records
    from dstmrouter.pipeline.outer import OuterReader
    from dstmrouter.pipeline.portsets import PortSets

_LIMIT_AT: Final = ipv6.HEADER_LEN + 4  # where our encapsulation limit stands (RFC 2473 4.1.1)
_LIMIT_OPTION: Final = np.uint16(0x0104)  # type 4, length 1, octets not swapped
_WORD: Final = np.dtype([("value", "<u2")])
_OFFSET_SHIFT: Final = 3


@dataclasses.dataclass(slots=True)
class Embedded:
    """Columns of n quoted tunnel packets."""

    header: Records  # dtype ipv6.HEADER
    overhead: npt.NDArray[np.int64]  # octets before the IPv4 packet
    inner: Inner  # `total_len` octets of it are quoted at most
    whole: Mask  # the IPv4 header and 8 octets behind it are there
    later_piece: Mask  # a fragment without the IPv4 header
    has_limit: Mask  # with an encapsulation limit at the place where ours is

    def take(self, keep: Index) -> Embedded:
        """The packets at the positions `keep`."""
        masks = (self.whole[keep], self.later_piece[keep], self.has_limit[keep])
        return Embedded(pick(self.header, keep), self.overhead[keep], self.inner.take(keep), *masks)


class EmbeddedReader:
    """Reads quoted packets, and compares them with what we would have sent."""

    def __init__(self, memory: FrameMemory, outer: OuterReader, port_sets: PortSets) -> None:
        self._memory = memory
        self._outer = outer
        self._port_sets = port_sets

    def read(self, at: Index, room: npt.NDArray[np.int64]) -> Embedded:
        """The packets at `at`, of which `room` octets are there, as many as are left over."""
        header = self._memory.read(at, ipv6.HEADER)
        fine = (room >= ipv6.HEADER_LEN) & (header["vtc_flow"] >> ipv6.VERSION_SHIFT == 6)
        end = np.where(fine, room, 0)
        next_header = header["next_header"].copy()
        skip = np.full(len(at), ipv6.HEADER_LEN, np.intp)
        skip_options(self._memory, at, end, next_header, skip)
        later = self._step_over_fragment_header(at, skip, end, next_header)
        carries = fine & ~later & (next_header == ipv6.NEXT_IPV4)
        packets, whole = self._inner(at + skip, np.where(carries, room - skip, 0))
        option = self._memory.read(at + (_LIMIT_AT - 2), _WORD)["value"]
        has_limit = (header["next_header"] == ipv6.NEXT_DESTINATION_OPTIONS) & (
            (option == _LIMIT_OPTION) & (skip > _LIMIT_AT)
        )
        return Embedded(header, skip.astype(np.int64), packets, whole, fine & later, has_limit)

    def ours(self, embedded: Embedded, now_s: int) -> Mask:
        """Which whole packets went from our end of a live binding's tunnel to its client."""
        holders = self._port_sets.look_up_quoted(embedded.inner)
        same: Mask = embedded.whole & (holders["expires"] > np.uint32(now_s))
        for mine, quoted in (
            (holders["client6"], embedded.header["dst"]),
            (self._outer.teps.take(holders["tep"], axis=0, mode="clip"), embedded.header["src"]),
        ):
            same &= (mine[:, 0] == quoted[:, 0]) & (mine[:, 1] == quoted[:, 1])
        return same

    def from_us(self, embedded: Embedded) -> Mask:
        """Which packets have one of our end points as their source."""
        return ~self._outer.not_tep6(embedded.header["src"])

    def _step_over_fragment_header(
        self,
        at: Index,
        skip: Index,
        end: npt.NDArray[np.int64],
        next_header: npt.NDArray[np.uint8],
    ) -> Mask:
        """Go on behind fragment headers; which packets are later pieces."""
        later = np.zeros(len(at), np.bool_)
        is_piece = (next_header == ipv6.NEXT_FRAGMENT) & (skip + ipv6.FRAGMENT_LEN <= end)
        rows = np.flatnonzero(is_piece)
        if len(rows):
            piece = self._memory.read(at[rows] + skip[rows], ipv6.FRAGMENT)
            later[rows] = piece["offset"] >> _OFFSET_SHIFT != 0
            behind = piece["next_header"].copy()
            start = skip[rows] + ipv6.FRAGMENT_LEN
            skip_options(self._memory, at[rows], end[rows], behind, start)
            skip[rows], next_header[rows] = start, behind
        return later

    def _inner(self, at: Index, room: npt.NDArray[np.int64]) -> tuple[Inner, Mask]:
        header = self._memory.read(at, ipv4.PACKET)
        version_ihl = header["version_ihl"]
        header_len = ipv4.header_len(version_ihl)
        total_len = header["total_len"].astype(np.int64)
        whole: Mask = (version_ihl >> 4 == 4) & (header_len >= ipv4.HEADER_LEN)
        whole &= (header_len + icmp.HEADER_LEN <= room) & (total_len >= header_len)
        # Of a message that is not all there no checksum can be told, as of a first piece.
        header["fragment"][total_len > room] |= ipv4.FLAG_MF
        quoted = Inner(at, header, np.minimum(total_len, room), header["dst"].astype(np.uint32))
        inner.read_ports(self._memory, quoted)
        return quoted, whole
