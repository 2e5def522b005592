"""How packets are cut into pieces: where the pieces begin and end, and frames for them.

The first piece of a packet stays in its frame. The others are copied into frames of the worker's
pool, with as much room before them as the kernel leaves before a packet.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.wire import ether

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.rare import FrameSource

_IP_AT: Final = (
    256 + ether.TAGGED_LEN
)  # octets from the start of a chunk to the IP header of a piece
UNIT: Final = 8  # octets: offsets of fragments count them, in IPv4 and in IPv6


@dataclasses.dataclass(slots=True)
class Pieces:
    """All pieces but the first ones; columns of m pieces of n packets."""

    of: Index  # which packet
    start: npt.NDArray[np.int64]  # octets from the start of the packet's fragmentable part
    size: npt.NDArray[np.int64]  # octets of that part
    ip_at: Index  # where the piece's IP header goes, octets of frame memory


def whole_units(octets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The most octets of a piece that is not the last one, if so many are allowed."""
    return octets & -UNIT


def cut(
    frames: FrameSource, size: npt.NDArray[np.int64], step: npt.NDArray[np.int64]
) -> tuple[Pieces, Index | None]:
    """Cut the `size` octets of n packets into pieces of `step`, shape (n,) each; find frames.

    Where frames are short, packets go without, from the last one on: then the second of the result
    says which n have theirs, and the pieces are those of these packets alone.
    """
    more = (size - 1) // step
    behind = np.cumsum(more)
    addrs = frames.take(int(behind[-1]))
    served = None
    if len(addrs) < behind[-1]:
        served = np.flatnonzero(behind <= len(addrs))
        size, step, more, behind = size[served], step[served], more[served], behind[served]
        wanted = int(behind[-1]) if len(behind) else 0
        frames.give(addrs[wanted:])
        addrs = addrs[:wanted]
    of = np.repeat(np.arange(len(size)), more)
    number = np.arange(1, len(of) + 1) - (behind - more)[of]
    start = number * step[of]
    ip_at = addrs.astype(np.intp) + _IP_AT
    return Pieces(of, start, np.minimum(step[of], size[of] - start), ip_at), served
