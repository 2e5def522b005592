"""What the tunnel does to DSCP and ECN at its exit (RFC 6040 section 4.2, RFC 2983; R7, R14)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

ECN_MASK: Final = 0b11
NOT_ECT, ECT_1, ECT_0, CE = range(4)  # code points as they stand on the wire
USUAL: Final = 0  # judgements
UNUSUAL: Final = 1
DROP: Final = 0xFF

# Rows: inner; columns: outer, both by code point.  Not-ECT  ECT(1)   ECT(0)   CE
EXIT: Final = np.array(
    [
        [NOT_ECT, NOT_ECT, NOT_ECT, DROP],  # Not-ECT
        [ECT_1, ECT_1, ECT_1, CE],  # ECT(1)
        [ECT_0, ECT_1, ECT_0, CE],  # ECT(0)
        [CE, CE, CE, CE],  # CE
    ],
    np.uint8,
)
"""ECN of the packet that leaves, or DROP; figure 4 of RFC 6040."""

UNUSUAL_PAIRS: Final = np.array(
    [
        [False, True, True, True],  # Not-ECT inside: the sender did not ask for marks
        [False, False, True, False],  # ECT(1) became ECT(0)
        [False, False, False, False],
        [False, True, False, False],  # CE inside, ECT(1) outside
    ]
)
"""The pairs that RFC 6040 wants counted: currently unused or dangerous."""


def exit_table(*, dscp_uniform: bool) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Tables for all octets at once: what leaves, and how it is judged.

    Both have shape (65536,), indexed by outer traffic class * 256 + inner TOS. The first holds the
    TOS that leaves, the second USUAL, UNUSUAL or DROP.
    """
    outer, inner = np.divmod(np.arange(1 << 16, dtype=np.uint32), 256)
    ecn = EXIT[inner & ECN_MASK, outer & ECN_MASK]
    judged = UNUSUAL_PAIRS[inner & ECN_MASK, outer & ECN_MASK].astype(np.uint8)
    judged[ecn == DROP] = DROP
    dscp = (outer if dscp_uniform else inner) & ~np.uint32(ECN_MASK)
    return (dscp | (ecn & ECN_MASK)).astype(np.uint8), judged
