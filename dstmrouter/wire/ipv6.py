"""IPv6: the fixed header and the extension headers a tunnel may carry (RFC 8200)."""

from __future__ import annotations

from typing import Final

import numpy as np

HEADER: Final = np.dtype(
    [
        ("vtc_flow", ">u4"),  # version 4, traffic class 8, flow label 20 bits
        ("payload_len", ">u2"),
        ("next_header", "u1"),
        ("hop_limit", "u1"),
        ("src", "<u8", (2,)),  # the wire octets as words, see dstmrouter.binding
        ("dst", "<u8", (2,)),
    ]
)
HEADER_LEN: Final = 40

EXTENSION: Final = np.dtype([("next_header", "u1"), ("len8", "u1")])
"""Start of an options header; `len8` counts units of 8 octets without the first (4.3, 4.6)."""

NEXT_HOP_BY_HOP: Final = 0
NEXT_IPV4: Final = 4  # RFC 2473: IPv4 in IPv6
NEXT_FRAGMENT: Final = 44
NEXT_ICMPV6: Final = 58
NEXT_DESTINATION_OPTIONS: Final = 60

VERSION_SHIFT: Final = 28
TRAFFIC_CLASS_SHIFT: Final = 20
FLOW_LABEL_MASK: Final = 0xFFFFF

assert HEADER.itemsize == HEADER_LEN
