"""Hop-by-hop and destination options of IPv6 packets: skipped (RFC 8200 sections 4.3, 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.wire import ipv6

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index

MAX_EXTENSIONS: Final = 4  # options headers that are skipped; more are nobody's honest traffic
OPTIONS: Final = (ipv6.NEXT_HOP_BY_HOP, ipv6.NEXT_DESTINATION_OPTIONS)
_NO_NEXT_HEADER: Final = np.uint8(ipv6.NEXT_NONE)


def skip_options(
    memory: FrameMemory,
    at: Index,
    end: npt.NDArray[np.int64],
    next_header: npt.NDArray[np.uint8],
    skip: Index,
) -> None:
    """Walk over options headers of n packets; a header that is not all there ends the walk.

    `next_header` says what begins `skip` octets behind `at`, and both are changed to what follows
    the options; `end` is where the packets end, in octets from `at`.
    """
    for _ in range(MAX_EXTENSIONS):
        rows = np.flatnonzero(np.isin(next_header, OPTIONS) & (skip + 8 <= end))
        if not len(rows):
            break
        extension = memory.read(at[rows] + skip[rows], ipv6.EXTENSION)
        behind = skip[rows] + (extension["len8"].astype(np.intp) + 1) * 8
        whole = behind <= end[rows]
        rows, extension, behind = rows[whole], extension[whole], behind[whole]
        # Hop-by-hop options stand directly behind the fixed header or nowhere (RFC 8200 4.1).
        misplaced = extension["next_header"] == ipv6.NEXT_HOP_BY_HOP
        next_header[rows] = np.where(misplaced, _NO_NEXT_HEADER, extension["next_header"])
        skip[rows] = behind
