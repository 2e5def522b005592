"""What the RFCs give as tables, for the oracles."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

NOT_ECT, ECT1, ECT0, CE = 0b00, 0b01, 0b10, 0b11

# RFC 6040 figure 4, written out: (inner, outer) -> (what leaves or None, whether it is unusual).
ECN_AT_EXIT: Final = {
    (NOT_ECT, NOT_ECT): (NOT_ECT, False),
    (NOT_ECT, ECT0): (NOT_ECT, True),
    (NOT_ECT, ECT1): (NOT_ECT, True),
    (NOT_ECT, CE): (None, True),
    (ECT0, NOT_ECT): (ECT0, False),
    (ECT0, ECT0): (ECT0, False),
    (ECT0, ECT1): (ECT1, False),
    (ECT0, CE): (CE, False),
    (ECT1, NOT_ECT): (ECT1, False),
    (ECT1, ECT0): (ECT1, True),
    (ECT1, ECT1): (ECT1, False),
    (ECT1, CE): (CE, False),
    (CE, NOT_ECT): (CE, False),
    (CE, ECT0): (CE, False),
    (CE, ECT1): (CE, True),
    (CE, CE): (CE, False),
}
MARTIANS: Final = [
    IPv4Network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
]
STATE_VERDICTS: Final = {
    "unresolved": "DROP_NEIGHBOUR",
    "glean": "DROP_NEIGHBOUR",
    "unreachable": "DROP_UNREACHABLE",
    "local": "DROP_LOCAL",
}
