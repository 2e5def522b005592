"""ICMPv4 errors: what they may be about, and how they look (R23, R24; RFC 792, RFC 1812 4.3.2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.inner import Inner
from dstmrouter.wire import checksum, icmp, ipv4

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.verdict import Verdict

MAX_LEN: Final = 576  # octets of an error, RFC 1812 section 4.3.2.3
QUOTE_LEN: Final = MAX_LEN - ipv4.HEADER_LEN - icmp.HEADER_LEN
_QUOTE_AT: Final = MAX_LEN - QUOTE_LEN
_COLUMNS: Final = np.arange(QUOTE_LEN)


@dataclasses.dataclass(frozen=True, slots=True)
class Error:
    """An ICMP error of one type and code, and what counts it."""

    verdict: Verdict
    type: int
    code: int


@dataclasses.dataclass(slots=True)
class About:
    """What n errors are about."""

    packets: Inner  # `total_len` octets of them are there
    clients: bool  # whether their sources are clients of ours
    rest: npt.NDArray[np.int64] | None = None  # second word of the ICMP headers; None: zero

    def __len__(self) -> int:
        return len(self.packets)

    def take(self, keep: Index) -> About:
        """The packets at the positions `keep`."""
        rest = None if self.rest is None else self.rest[keep]
        return About(self.packets.take(keep), self.clients, rest)


def answerable(memory: FrameMemory, packets: Inner) -> Mask:
    """Which packets errors may be sent about (R24), shape (n,); their headers must be right.

    None that are, or may be, ICMP errors; none of which the first piece is elsewhere; none from or
    to addresses that are not one host's. Frames to group addresses of Ethernet do not come to us
    at all, see `dstmrouter.io.steering_program`.
    """
    header = packets.header
    fine: Mask = header["fragment"] & ipv4.OFFSET_BITS == 0
    fine &= ~ipv4.MARTIAN.take(header["src_upper"])
    fine &= ~ipv4.MARTIAN.take(header["dst_upper"])
    rows = np.flatnonzero(header["protocol"] == ipv4.PROTOCOL_ICMP)
    if len(rows):
        header_len = ipv4.header_len(header["version_ihl"][rows])
        kinds = memory.records(1)[packets.at[rows] + header_len].view(np.uint8)
        fine[rows] &= (packets.total_len[rows] > header_len) & ~icmp.ERROR4.take(kinds)
    return fine


class Icmp4Builder:
    """Writes errors that come from one address of ours."""

    def __init__(self, memory: FrameMemory, src: int, ttl: int) -> None:
        self._memory = memory
        self._src, self._ttl = src, ttl

    def build(self, at: Index, error: Error, about: About) -> Inner:
        """Write an error about each of n packets to the free places `at`, shape (n,).

        It quotes as much as fits.
        """
        n, packets = len(at), about.packets
        quoted = np.minimum(packets.total_len, QUOTE_LEN)
        octets = np.zeros((n, MAX_LEN), np.uint8)
        body = self._memory.records(QUOTE_LEN)[packets.at].view(np.uint8).reshape(n, QUOTE_LEN)
        np.copyto(octets[:, _QUOTE_AT:], body, where=quoted[:, None] > _COLUMNS)
        message = np.ndarray(n, icmp.HEADER, octets, ipv4.HEADER_LEN, (MAX_LEN,))
        message["type"], message["code"] = error.type, error.code
        if about.rest is not None:
            message["rest"] = about.rest
        message["checksum"] = checksum.of_rows(octets[:, ipv4.HEADER_LEN :].view("<u4"))
        self._write_header(octets, packets, quoted + _QUOTE_AT)
        self._memory.records(MAX_LEN)[at] = octets.view(f"V{MAX_LEN}").reshape(n)
        return Inner(at, self._memory.read(at, ipv4.PACKET), quoted + _QUOTE_AT, packets.src)

    def _write_header(
        self, octets: npt.NDArray[np.uint8], packets: Inner, total_len: npt.NDArray[np.int64]
    ) -> None:
        header = np.ndarray(len(octets), ipv4.HEADER, octets, 0, (MAX_LEN,))
        header["version_ihl"] = ipv4.VERSION_IHL
        header["total_len"] = total_len
        header["ttl"], header["protocol"] = self._ttl, ipv4.PROTOCOL_ICMP
        header["src"], header["dst"] = self._src, packets.header["src"]
        sums = checksum.of_rows(octets[:, : ipv4.HEADER_LEN].view("<u4"))
        header["checksum"] = sums.view(">u2")
