"""IPv6: the fixed header and the extension headers a tunnel may carry (RFC 8200)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

HEADER_LEN: Final = 40
HEADER: Final = np.dtype(
    {
        "names": [
            "vtc_flow",  # version 4, traffic class 8, flow label 20 bits
            "payload_len",
            "next_header",
            "hop_limit",
            "src",  # the wire octets as words, see dstmrouter.binding
            "dst",
            "dst_octets",  # the same as dst, for copying
            "start",  # the first 8 octets as a word, not swapped
            "first_octets",  # version, class, 4 bits of flow label, not swapped: to index tables
        ],
        "formats": [">u4", ">u2", "u1", "u1", ("<u8", (2,)), ("<u8", (2,)), "V16", "<u8", "<u2"],
        "offsets": [0, 4, 6, 7, 8, 24, 24, 0, 0],
        "itemsize": HEADER_LEN,
    }
)


def _by_first_octets() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    first = np.arange(1 << 16, dtype=np.uint16).byteswap()
    return first >> 12 != 6, ((first >> 4) & 0xFF).astype(np.uint8)


NOT_VERSION_6, TRAFFIC_CLASS = _by_first_octets()
"""By first_octets, shape (65536,): whether the version is wrong, and the traffic class."""

EXTENSION: Final = np.dtype([("next_header", "u1"), ("len8", "u1")])
"""Start of an options header; `len8` counts units of 8 octets without the first (4.3, 4.6)."""

FRAGMENT: Final = np.dtype(
    [("next_header", "u1"), ("reserved", "u1"), ("offset", ">u2"), ("id", ">u4")]
)
"""Section 4.5; `offset` counts units of 8 octets in its upper 13 bits, and has FLAG_MORE."""
FRAGMENT_LEN: Final = 8
FLAG_MORE: Final = 1
OFFSET_MASK: Final = 0xFFF8  # of the offset field: what remains are octets
MAX_PAYLOAD: Final = 65535

LIMIT_OPTION: Final = bytes.fromhex("0400040104010100")
"""Destination options before IPv4 with an encapsulation limit of 4 and PadN (RFC 2473 4.1.1)."""
LIMIT_AT: Final = 4  # octet of the limit itself

NEXT_HOP_BY_HOP: Final = 0
NEXT_IPV4: Final = 4  # RFC 2473: IPv4 in IPv6
NEXT_FRAGMENT: Final = 44
NEXT_ICMPV6: Final = 58
NEXT_NONE: Final = 59
NEXT_DESTINATION_OPTIONS: Final = 60

VERSION_SHIFT: Final = 28
TRAFFIC_CLASS_SHIFT: Final = 20
FLOW_LABEL_MASK: Final = 0xFFFFF

assert HEADER.itemsize == HEADER_LEN
assert FRAGMENT.itemsize == FRAGMENT_LEN
