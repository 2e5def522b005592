"""Next hops: the Ethernet destination and the port of every neighbour that packets are sent to.

One 64-bit word a hop in shared memory. The supervisor writes, workers read, and a word is stored
and loaded whole: nobody sees half a MAC address, and a neighbour that changes costs one store,
however many bindings and routes name its hop.

The first hops have a fixed meaning, so that tables can name "nowhere" without a special value.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.decide import alike

HOP: Final = np.dtype([("mac", "V6"), ("port", "u1"), ("state", "u1")])
HOP_SIZE: Final = 8
assert HOP.itemsize == HOP_SIZE

HopIds: TypeAlias = npt.NDArray[np.uint32]
"""Numbers of next hops, shape (n,)."""

UNREACHABLE_HOP: Final = 0
LOCAL_HOP: Final = 1
GLEAN_HOP: Final = 2
FIXED_HOPS: Final = 3

NO_MAC: Final = bytes(6)


class HopState(IntEnum):
    """What can be done with a packet for this hop."""

    UNRESOLVED = 0  # a route is there, the neighbour's MAC address not yet
    RESOLVED = 1
    UNREACHABLE = 2  # no route, a discard route, or a link that is down
    GLEAN = 3  # on-link destination without a neighbour entry: the kernel has to be asked
    LOCAL = 4  # one of our own addresses


class HopTable:
    """View of the shared words; every process makes its own over the same memory."""

    def __init__(self, words: npt.NDArray[np.uint64]) -> None:
        assert words.dtype == np.uint64
        assert words.flags.aligned, "an unaligned store could be seen half done"
        assert len(words) > FIXED_HOPS
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    def lay_out(self) -> None:
        """Give the fixed hops their meaning and make all others UNREACHABLE.

        Once, before workers start.
        """
        self.words[:] = _word(NO_MAC, 0, HopState.UNREACHABLE)
        self.set(LOCAL_HOP, NO_MAC, 0, HopState.LOCAL)
        self.set(GLEAN_HOP, NO_MAC, 0, HopState.GLEAN)

    def set(self, hop: int, mac: bytes, port: int, state: HopState) -> None:
        """Publish one hop with one aligned store; `mac` is 6 octets, `port` an index below 256."""
        self.words[hop] = _word(mac, port, state)

    def words_of(self, hops: HopIds, *, known_alike: bool = False) -> npt.NDArray[np.uint64]:
        """Copy the words of `hops`, shape (n,); they may be `same`: one, seen n times.

        Usually there is one neighbour on a side, and all packets of a burst go to it. To see that
        takes 1.5 us of 1,024, unless it is known already; what it saves (words that are read, ports
        compared, MAC addresses copied) took 10.
        """
        if known_alike or alike(hops):
            one = self.words[hops.item(0), ...].copy()
            return np.ndarray(len(hops), np.uint64, one, 0, (0,))
        return self.words.take(hops)

    def take(self, hops: HopIds) -> npt.NDArray[np.void]:
        """Copy the words of `hops`; shape (n,), dtype HOP."""
        return self.words.take(hops).view(HOP)


def same(column: npt.NDArray[np.generic]) -> bool:
    """Whether a column of what `HopTable.words_of` returned is the same for all; it may be even so.

    The first entry then says everything.
    """
    return len(column) > 0 and column.strides == (0,)


def _word(mac: bytes, port: int, state: HopState) -> np.uint64:
    """The word whose octets in memory are `mac`, `port`, `state`."""
    assert len(mac) == len(NO_MAC)
    return np.uint64(int.from_bytes(mac + bytes((port, state)), "little"))
