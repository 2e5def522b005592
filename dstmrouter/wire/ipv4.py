"""IPv4: the fixed header and the first octets behind it (RFC 791 section 3.1)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dstmrouter.wire.constant import constant

HEADER: Final = np.dtype(
    [
        ("version_ihl", "u1"),
        ("tos", "u1"),  # DSCP and ECN
        ("total_len", ">u2"),
        ("id", ">u2"),
        ("fragment", "<u2"),  # reserved, DF, MF, 13 bits of offset; octets not swapped, see below
        ("ttl", "u1"),
        ("protocol", "u1"),
        ("checksum", ">u2"),
        ("src", ">u4"),
        ("dst", ">u4"),
    ]
)
HEADER_LEN: Final = 20
MAX_HEADER_LEN: Final = 60
MAX_LEN: Final = 65535  # of a packet, header included

_PACKET_FIELDS: Final = {n: f[:2] for n, f in dict(HEADER.fields or {}).items()} | {
    "ports": (np.dtype("<u4"), 20),  # source and destination port, if there are no options
    # The same octets again, for copying, and in words that are not swapped: to sum and to change
    # them, to index tables, to tell flows apart.
    "octets": (np.dtype("V20"), 0),
    "words": (np.dtype(("<u4", (5,))), 0),
    "start": (np.dtype("<u8"), 0),
    "ttl_to_src": (np.dtype("<u8"), 8),
    "dst_and_ports": (np.dtype("<u8"), 16),
    "raw_checksum": (np.dtype("<u2"), 10),
    "src_upper": (np.dtype("<u2"), 12),
    "dst_upper": (np.dtype("<u2"), 16),
    "addresses": (np.dtype("<u8"), 12),
}
PACKET_LEN: Final = HEADER_LEN + 4
PACKET: Final = np.dtype(
    {
        "names": list(_PACKET_FIELDS),
        "formats": [form for form, _ in _PACKET_FIELDS.values()],
        "offsets": [offset for _, offset in _PACKET_FIELDS.values()],
        "itemsize": PACKET_LEN,
    }
)
"""The fixed header and what stands in the place of ports, with some octets under several names."""

VERSION_IHL: Final = constant(0x45, np.uint8)  # version 4, five words, no options
# Only ever tested for bits, so the masks are swapped once instead of the column for every burst.
FLAG_DF: Final = constant(0x0040, np.uint16)
FLAG_MF: Final = constant(0x0020, np.uint16)
FRAGMENT_BITS: Final = constant(0xFF3F, np.uint16)  # MF and offset: not zero in every fragment
OFFSET_BITS: Final = constant(0xFF1F, np.uint16)  # zero in first fragments and whole packets

# Of `fragment` with its octets swapped.
MORE_MASK: Final = constant(0x2000, np.uint16)
OFFSET_MASK: Final = constant(0x1FFF, np.uint16)

PROTOCOL_ICMP: Final = 1
PROTOCOLS_WITH_PORTS: Final = (6, 17, 33, 132)  # TCP, UDP, DCCP, SCTP

ICMP_ECHO_REPLY: Final = 0  # RFC 792
ICMP_ECHO_REQUEST: Final = 8

assert HEADER.itemsize == HEADER_LEN


def header_len(version_ihl: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Octets of headers with their options, 0 to 60, as this field of theirs says; shape (n,)."""
    return (version_ihl & 0xF).astype(np.int64) * 4


def _martian_networks() -> npt.NDArray[np.bool_]:
    """Mark the /16 blocks that must be neither source nor destination on the Internet."""
    martian = np.zeros(1 << 16, np.bool_)
    martian[0x0000:0x0100] = True  # 0.0.0.0/8
    martian[0x7F00:0x8000] = True  # 127.0.0.0/8
    martian[0xA9FE] = True  # 169.254.0.0/16
    martian[0xE000:] = True  # 224.0.0.0/4, 240.0.0.0/4 and 255.255.255.255
    upper = np.arange(1 << 16, dtype=np.uint16)
    return martian[upper.byteswap()]


MARTIAN: Final = _martian_networks()
"""Indexed by PACKET's src_upper or dst_upper, shape (65536,), bool (RFC 1812 section 5.3.7)."""
