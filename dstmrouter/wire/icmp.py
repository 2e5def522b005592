"""ICMPv4 (RFC 792) and ICMPv6 (RFC 4443): the header that both share, types and codes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

HEADER: Final = np.dtype(
    [
        ("type", "u1"),
        ("code", "u1"),
        ("checksum", "<u2"),  # octets not swapped: sums do not mind, see wire.checksum
        ("rest", ">u4"),  # zero, an MTU or a pointer, as the type says
    ]
)
HEADER_LEN: Final = 8
assert HEADER.itemsize == HEADER_LEN

UNREACHABLE4: Final = 3  # RFC 792, codes of RFC 1812 section 5.2.7.1
NET_CODE: Final = 0
HOST_CODE: Final = 1
FRAGMENTATION_CODE: Final = 4  # the MTU in the lower half of `rest` (RFC 1191 section 4)
PROHIBITED_CODE: Final = 13
TIME_EXCEEDED4: Final = 11

UNREACHABLE6: Final = 1  # RFC 4443 section 3
SOURCE_POLICY_CODE: Final = 5
PACKET_TOO_BIG6: Final = 2
TIME_EXCEEDED6: Final = 3
HOP_LIMIT_CODE: Final = 0
REASSEMBLY_CODE: Final = 1
PARAMETER_PROBLEM6: Final = 4
FIELD_CODE: Final = 0  # an erroneous header field
HEADER_CHAIN_CODE: Final = 3  # RFC 7112 section 5

_QUESTIONS4: Final = (0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43)


def _not_questions() -> npt.NDArray[np.bool_]:
    errors = np.ones(256, np.bool_)
    errors[list(_QUESTIONS4)] = False
    return errors


ERROR4: Final = _not_questions()
"""By ICMPv4 type, shape (256,): errors, redirects, and what may be one; no error is sent for these.

RFC 1812 section 4.3.2.7 and RFC 1122 section 3.2.2. Unknown types count as errors: that is safe.
"""
