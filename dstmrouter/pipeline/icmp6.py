"""ICMPv6 errors: what they may be about, and how they look (R23, R24; RFC 4443 section 2.4)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import message_sum
from dstmrouter.pipeline.memory import pick
from dstmrouter.wire import checksum, icmp, ipv6

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.link import Packets
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

MAX_LEN: Final = 1280  # octets of an error, RFC 4443 section 2.4 c
_QUOTE_AT: Final = ipv6.HEADER_LEN + icmp.HEADER_LEN
QUOTE_LEN: Final = MAX_LEN - _QUOTE_AT
_COLUMNS: Final = np.arange(QUOTE_LEN)
# The pseudo-header of RFC 8200 section 8.1 in place of the first eight octets: with the addresses
# behind it, all that the checksum covers is one row.
_PSEUDO: Final = np.dtype([("zero", ">u4"), ("length", ">u2"), ("next_header", ">u2")])
_LOOPBACK: Final = np.uint64(1 << 56)  # ::1, lower word as on the wire
_GROUP: Final = np.uint64(0xFF)  # first octet of a multicast address


@dataclasses.dataclass(slots=True)
class About6:
    """What n errors are about: IPv6 packets to us that came in by one port."""

    at: Index  # where the IPv6 headers start, octets of frame memory
    header: Records  # copies of them, dtype ipv6.HEADER
    length: npt.NDArray[np.int64]  # octets of the packets, headers included
    macs: Records  # Ethernet sources, dtype V6: neighbours that know the way back
    port: int
    rest: npt.NDArray[np.int64] | None = None  # second word of the ICMP headers; None: zero

    def __len__(self) -> int:
        return len(self.at)

    def take(self, keep: Index) -> About6:
        """The packets at the positions `keep`."""
        rest = None if self.rest is None else self.rest[keep]
        columns = (self.at[keep], pick(self.header, keep), self.length[keep], self.macs[keep])
        return About6(*columns, self.port, rest)


def about6(memory: FrameMemory, packets: Packets, frame_at: Index, port: int) -> About6:
    """Packets in the frames that start at `frame_at`, to be given an error."""
    header = memory.read(packets.at, ipv6.HEADER)
    length = np.minimum(header["payload_len"].astype(np.int64) + ipv6.HEADER_LEN, packets.room)
    return About6(packets.at, header, length, memory.records(6)[frame_at + 6], port)


def answerable(about: About6) -> Mask:
    """Which packets errors may be sent about, as far as their sources go (R24), shape (n,)."""
    src = about.header["src"]
    single: Mask = (src[:, 0] & _GROUP) != _GROUP
    single &= (src[:, 0] != 0) | ((src[:, 1] != 0) & (src[:, 1] != _LOOPBACK))
    single &= (about.macs.view(np.uint8).reshape(-1, 6)[:, 0] & 1) == 0
    return single


class Icmp6Builder:
    """Writes errors that come from the address that the packet was sent to."""

    def __init__(self, memory: FrameMemory, hop_limit: int) -> None:
        self._memory = memory
        self._hop_limit = hop_limit

    def build(self, at: Index, kind: int, code: int, about: About6) -> npt.NDArray[np.int64]:
        """Write an error about each of n packets to the free places `at`; return their lengths.

        It quotes as much as fits.
        """
        n = len(at)
        quoted = np.minimum(about.length, QUOTE_LEN)
        octets = np.zeros((n, MAX_LEN), np.uint8)
        body = self._memory.records(QUOTE_LEN)[about.at].view(np.uint8).reshape(n, QUOTE_LEN)
        np.copyto(octets[:, _QUOTE_AT:], body, where=quoted[:, None] > _COLUMNS)
        message = np.ndarray(n, icmp.HEADER, octets, ipv6.HEADER_LEN, (MAX_LEN,))
        message["type"], message["code"] = kind, code
        if about.rest is not None:
            message["rest"] = about.rest
        header = np.ndarray(n, ipv6.HEADER, octets, 0, (MAX_LEN,))
        header["src"], header["dst"] = about.header["dst"], about.header["src"]
        pseudo = np.ndarray(n, _PSEUDO, octets, 0, (MAX_LEN,))
        pseudo["length"], pseudo["next_header"] = quoted + icmp.HEADER_LEN, ipv6.NEXT_ICMPV6
        message["checksum"] = checksum.of_rows(octets.view("<u4"))
        header["vtc_flow"] = 6 << ipv6.VERSION_SHIFT
        header["next_header"], header["hop_limit"] = ipv6.NEXT_ICMPV6, self._hop_limit
        self._memory.records(MAX_LEN)[at] = octets.view(f"V{MAX_LEN}").reshape(n)
        return quoted + _QUOTE_AT


def intact(memory: FrameMemory, at: Index, length: npt.NDArray[np.int64], header: Records) -> Mask:
    """Which of the ICMPv6 messages of `length` octets at `at` have the right checksum, shape (n,).

    `header` are the IPv6 headers before them, dtype ipv6.HEADER.
    """
    return message_sum.right(memory, at, length, checksum.row_sums(_pseudo(length, header)))


def _pseudo(length: npt.NDArray[np.int64], header: Records) -> npt.NDArray[np.uint32]:
    octets = np.zeros((len(length), ipv6.HEADER_LEN), np.uint8)
    addresses = np.ndarray(len(length), ipv6.HEADER, octets, 0, (ipv6.HEADER_LEN,))
    addresses["src"], addresses["dst"] = header["src"], header["dst"]
    pseudo = np.ndarray(len(length), _PSEUDO, octets, 0, (ipv6.HEADER_LEN,))
    pseudo["length"], pseudo["next_header"] = length, ipv6.NEXT_ICMPV6
    return octets.view("<u4")
