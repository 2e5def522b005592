"""Ethernet II and one 802.1Q tag (IEEE 802.3 section 3.2, IEEE 802.1Q section 9)."""

from __future__ import annotations

from typing import Final

import numpy as np

HEADER: Final = np.dtype([("dst", "V6"), ("src", "V6"), ("type", ">u2")])
HEADER_LEN: Final = 14
TAGGED: Final = np.dtype(
    [("dst", "V6"), ("src", "V6"), ("tpid", ">u2"), ("tci", ">u2"), ("type", ">u2")]
)
TAGGED_LEN: Final = 18
TYPES: Final = np.dtype([("type", ">u2"), ("tci", ">u2"), ("inner_type", ">u2")])
"""The six octets after the addresses; the last four mean this only in a tagged frame."""
TYPES_AT: Final = 12  # octets from the start of the frame
VID_MASK: Final = 0x0FFF  # of the tag control information

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_VLAN: Final = 0x8100
ETHERTYPE_IPV6: Final = 0x86DD

assert HEADER.itemsize == HEADER_LEN
assert TAGGED.itemsize == TAGGED_LEN
