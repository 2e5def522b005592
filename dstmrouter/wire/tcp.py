"""TCP: the fixed header, and the option for the maximum segment size (RFC 9293 section 3.1)."""

from __future__ import annotations

from typing import Final

import numpy as np

PROTOCOL: Final = 6
HEADER: Final = np.dtype(
    [
        ("src_port", ">u2"),
        ("dst_port", ">u2"),
        ("seq", ">u4"),
        ("ack", ">u4"),
        ("offset", "u1"),  # header length in words, in the upper half
        ("flags", "u1"),
        ("window", ">u2"),
        ("checksum", ">u2"),
        ("urgent", ">u2"),
    ]
)
HEADER_LEN: Final = 20
SYN: Final = 0x02
OPTION_END: Final = 0
OPTION_NOP: Final = 1
OPTION_MSS: Final = 2
MSS_LEN: Final = 4

assert HEADER.itemsize == HEADER_LEN
