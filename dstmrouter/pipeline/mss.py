"""Clamping the maximum segment size that TCP SYNs offer (RFC 9293 section 3.7.1).

For networks that lose "fragmentation needed": ends that are told of smaller segments send none that
the tunnel does not take. Options are read within their header only, and whatever makes no sense is
left as it is. A SYN without the option is left, too: 536 octets fit everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.wire import checksum, ipv4, tcp
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index

_TCP: Final = constant(tcp.PROTOCOL, np.uint8)
_STEPS: Final = 12  # options that are looked at before the one that is sought; hosts send 6 at most
_MSS: Final = np.dtype([("kind", "u1"), ("len", "u1"), ("value", ">u2")])
_ODD: Final = 256  # a word at an odd octet counts so much more in a sum modulo 65535


class MssClamp:
    """Lowers the MSS of SYNs to `mss` octets."""

    def __init__(self, memory: FrameMemory, mss: int) -> None:
        self._memory = memory
        self._mss = mss

    def clamp(self, packets: Inner) -> None:
        """Change the SYNs among IPv4 packets where they lie; their headers stay."""
        rows = np.flatnonzero(packets.header["protocol"] == _TCP)
        if not len(rows):
            return
        first = packets.header["fragment"][rows].byteswap() & ipv4.OFFSET_MASK == 0
        header_len = ipv4.header_len(packets.header["version_ihl"][rows])
        at, room = packets.at[rows] + header_len, packets.total_len[rows] - header_len
        header = self._memory.read(at, tcp.HEADER)
        length = (header["offset"] >> 4).astype(np.intp) * 4
        syn = first & (header["flags"] & tcp.SYN != 0)
        keep = np.flatnonzero(syn & (length >= tcp.HEADER_LEN) & (length <= room))
        if len(keep):
            self._clamp(at[keep], length[keep])

    def _clamp(self, at: Index, length: Index) -> None:
        """Change whole TCP headers of `length` octets."""
        found = self._find(at, length)
        keep = np.flatnonzero(found)
        at, option = at[keep], found[keep]
        mss = self._memory.read(at + option, _MSS)
        less = mss["value"].astype(np.int64) - self._mss
        keep = np.flatnonzero(less > 0)
        at, option, mss, less = at[keep], option[keep], mss[keep], less[keep]
        mss["value"] = self._mss
        self._memory.write(at + option, mss)
        header = self._memory.read(at, tcp.HEADER)
        less = np.where(option & 1, less * _ODD, less)
        header["checksum"] = checksum.updated(header["checksum"].astype(np.int64), less)
        self._memory.write(at, header)

    def _find(self, at: Index, length: Index) -> Index:
        """Octets from the start of headers to their MSS options; 0 where there is none."""
        found = np.zeros(len(at), np.intp)
        rows, option = np.arange(len(at)), np.full(len(at), tcp.HEADER_LEN)
        for _ in range(_STEPS):
            inside = option + tcp.MSS_LEN <= length[rows]
            rows, option = rows[inside], option[inside]
            if not len(rows):
                break
            seen = self._memory.read(at[rows] + option, _MSS)
            is_mss = (seen["kind"] == tcp.OPTION_MSS) & (seen["len"] == tcp.MSS_LEN)
            found[rows[is_mss]] = option[is_mss]
            step = np.where(seen["kind"] == tcp.OPTION_NOP, 1, seen["len"].astype(np.intp))
            on = ~is_mss & (seen["kind"] != tcp.OPTION_END) & (step > 0)
            on &= (seen["kind"] == tcp.OPTION_NOP) | (step > 1)
            rows, option = rows[on], option[on] + step[on]
        return found


def default_mss(tunnel_mtu: int) -> int:
    """The largest MSS whose segments, without options, fit a tunnel of `tunnel_mtu` octets."""
    return tunnel_mtu - ipv4.HEADER_LEN - tcp.HEADER_LEN
