"""Path MTUs of single clients, learnt from Packet Too Big (RFC 8201, rule R21).

One table in shared memory for all workers, because a NIC gives the errors of the access network to
any queue, not to the one whose worker sends the packets. An entry is one 64-bit word (a tag of the
client's address, the MTU and when it was learnt), so it is written and read whole, and any worker
may write: of two that learn at once one is lost, and learns again with the next error. A set of
four entries takes the clients of one hash; the one learnt longest ago makes room. The tag has 28
bits besides those that choose the set: that two clients are taken for one happens once in billions,
and gives one of them smaller packets for ten minutes.

While nothing was learnt for ten minutes, look-ups cost the comparison of one number a burst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.keyed import key_of, mixed

if TYPE_CHECKING:
    from dstmrouter.binding import Words6
    from dstmrouter.pipeline.memory import Octets

LEAST_MTU: Final = 1280  # RFC 8201 section 4: errors that say less are discarded
AGE_S: Final = 600  # section 4: after that, larger packets are tried again
UNKNOWN: Final = 0xFFFF  # octets; where nothing was learnt
WAYS: Final = 4
SET_BITS: Final = 14  # 65,536 clients, 512 KiB
ENTRIES_AT: Final = 64  # octets; before them the key and `newest`
TAG_BITS, MTU_BITS, TIME_BITS = 28, 12, 24
MOST_MTU: Final = (1 << MTU_BITS) - 1
_TAG_SHIFT, _MTU_SHIFT = np.uint64(MTU_BITS + TIME_BITS), np.uint64(TIME_BITS)
_TAG, _MTU, _TIME = (np.uint64((1 << bits) - 1) for bits in (TAG_BITS, MTU_BITS, TIME_BITS))
_SET_SHIFT: Final = np.uint64(64 - SET_BITS)
_TAG_FROM: Final = np.uint64(64 - SET_BITS - TAG_BITS)
_AGE: Final = np.uint64(AGE_S)


class PathMtus:
    """View over one shared buffer; every process makes its own over the same memory."""

    SIZE: Final = ENTRIES_AT + (8 * WAYS << SET_BITS)

    def __init__(self, buffer: Octets) -> None:
        self.head: npt.NDArray[np.uint64] = np.ndarray(3, np.uint64, buffer, 0)
        """Two words of the key, and the second in which something was learnt last, plus one."""
        self.entries: npt.NDArray[np.uint64]
        self.entries = np.ndarray((1 << SET_BITS, WAYS), np.uint64, buffer, ENTRIES_AT)

    def lay_out(self, key: tuple[int, int]) -> None:
        """Take a secret of two 64-bit numbers, once, before workers start; memory is zeroed."""
        self.head[:2] = key_of(*key)

    def any_known(self, now_s: int) -> bool:
        """Whether anything may have been learnt that still counts."""
        newest = int(self.head[2])
        return newest > 0 and now_s < newest - 1 + AGE_S

    def look_up(self, client6: Words6, now_s: int) -> npt.NDArray[np.int64]:
        """Path MTUs of clients, shape (n,), in octets; UNKNOWN where none was learnt."""
        which, tag = self._place(client6)
        entries = self.entries.take(which, axis=0)
        known = (entries >> _TAG_SHIFT == tag[:, None]) & self._fresh(entries, now_s)
        mtus = np.where(known, entries >> _MTU_SHIFT & _MTU, np.uint64(UNKNOWN))
        least: npt.NDArray[np.int64] = mtus.min(axis=1).astype(np.int64)
        return least

    def learn(self, client6: Words6, mtu: int, now_s: int) -> bool:
        """A valid Packet Too Big about a packet to `client6`, shape (1, 2), says `mtu`.

        Return whether that is news: less than what is known, and no less than every IPv6 link has.
        The caller knows that the error is valid, and that we would send larger packets.
        """
        if not LEAST_MTU <= mtu <= MOST_MTU or mtu >= int(self.look_up(client6, now_s)[0]):
            return False
        which, tag = (int(column[0]) for column in self._place(client6))
        entries = self.entries[which]
        same = np.flatnonzero((entries >> _TAG_SHIFT == tag) & (entries != 0))
        way = int(same[0]) if len(same) else self._oldest(entries, now_s)
        word = tag << int(_TAG_SHIFT) | mtu << TIME_BITS | now_s & int(_TIME)
        self.entries[which, way] = word
        self.head[2] = now_s + 1
        return True

    def _place(self, client6: Words6) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint64]]:
        """Sets and tags of clients."""
        hashed = mixed(client6, (self.head[0], self.head[1]))
        return (hashed >> _SET_SHIFT).astype(np.intp), hashed >> _TAG_FROM & _TAG

    @staticmethod
    def _fresh(entries: npt.NDArray[np.uint64], now_s: int) -> npt.NDArray[np.bool_]:
        age = np.uint64(now_s) - entries & _TIME
        fresh: npt.NDArray[np.bool_] = (age < _AGE) & (entries != 0)
        return fresh

    @staticmethod
    def _oldest(entries: npt.NDArray[np.uint64], now_s: int) -> int:
        age = np.where(entries == 0, _TIME, np.uint64(now_s) - entries & _TIME)
        return int(age.argmax())
