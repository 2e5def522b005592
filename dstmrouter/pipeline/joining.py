"""Making one packet out of the pieces of a datagram (RFC 8200 section 4.5, R19).

The octets of the later pieces are put behind the first one, in its frame. Then its IPv6 header
moves up to them, over the fragment header; options headers before that are left behind, they were
for the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import ecn
from dstmrouter.wire import ether, ipv6

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index

FIRST_ONES: Final = 0xFE  # the first piece's ECN stays
DROP: Final = 0xFF
_CE: Final = 1 << ecn.CE
_NOT_ECT: Final = 1 << ecn.NOT_ECT


def _ecn_table() -> npt.NDArray[np.uint8]:
    table = np.full(16, FIRST_ONES, np.uint8)
    seen = np.arange(16)
    table[seen & _CE != 0] = ecn.CE
    table[(seen & _CE != 0) & (seen & _NOT_ECT != 0)] = DROP
    return table


ECN_OF: Final = _ecn_table()
"""ECN of a datagram by those of its pieces, a bit each (RFC 3168 section 5.3): or one of the above.

A mixture without CE is of no consequence; the datagram has that of its first piece then.
"""


def finish(
    memory: FrameMemory,
    firsts: tuple[Index, Index, Index],
    total: npt.NDArray[np.int64],
    marks: npt.NDArray[np.uint8],
) -> tuple[Index, npt.NDArray[np.int64]]:
    """Write the headers of n datagrams; return where their frames start, and their octets.

    `firsts` are columns of their first pieces: where the frame, its IPv6 header and its data are.
    `total` are the octets of each, `marks` their ECN or FIRST_ONES.
    """
    at, ip_at, data_at = firsts
    header = memory.read(ip_at, ipv6.HEADER)
    header["next_header"] = memory.read(data_at - ipv6.FRAGMENT_LEN, ipv6.FRAGMENT)["next_header"]
    header["payload_len"] = total
    if np.count_nonzero(marks != FIRST_ONES):
        shift = ipv6.TRAFFIC_CLASS_SHIFT
        marked = header["vtc_flow"] & ~np.uint32(ecn.ECN_MASK << shift)
        marked |= marks.astype(np.uint32) << np.uint32(shift)
        header["vtc_flow"] = np.where(marks == FIRST_ONES, header["vtc_flow"], marked)
    link_len = ip_at - at
    new_ip_at = data_at - ipv6.HEADER_LEN
    for size in (ether.HEADER_LEN, ether.TAGGED_LEN):
        rows = np.flatnonzero(link_len == size)
        if len(rows):
            records = memory.records(size)
            records[new_ip_at[rows] - size] = records[at[rows]]
    memory.write(new_ip_at, header)
    return new_ip_at - link_len, link_len + ipv6.HEADER_LEN + total
