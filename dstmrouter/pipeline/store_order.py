"""Which of two things that a router hears of one store is the newer one.

Servers that share a store feed the same routers, and none of them is always ahead: a router may
hear late from one what it has long heard from the other. So each change and each snapshot says at
which version of the store it is true, and nothing overtakes what is newer: an address keeps the
newest version it was told, also when it was unbound then, and a complete snapshot is such a version
for all addresses.

An address that is bound as a whole is known by its slot. The port sets of a shared one have numbers
of their own, 2^k in sequence, given when the first of them is heard of: what is heard of a port set
says nothing of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.memory import Index

_PSID_BITS: Final = np.uint64(16)


class StoreOrder:
    """What is known of each binding, at which version of the store `store_id`.

    `slots` is how many slots of addresses there are.
    """

    def __init__(self, store_id: bytes, slots: int) -> None:
        self.store_id = store_id
        self._slots = slots
        self._versions: npt.NDArray[np.uint64] = np.zeros(slots, np.uint64)
        self._names: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)  # slot and PSID, of port sets
        self._first: npt.NDArray[np.uint32] = np.zeros(slots, np.uint32)  # of a slot's port sets
        self._lengths: npt.NDArray[np.uint8] = np.zeros(slots, np.uint8)  # bits of its PSIDs
        self._floor = 0  # everything is known at this version

    def take(
        self,
        slots: npt.NDArray[np.uint32],
        version: int,
        psid_len: npt.NDArray[np.uint8] | None = None,
        psid: npt.NDArray[np.uint16] | None = None,
    ) -> Index:
        """Positions of those bindings that are news at `version`, and known at it from now on.

        Without `psid_len` and `psid` they are whole addresses.
        """
        if version < self._floor:
            return np.zeros(0, np.intp)
        numbers = slots
        if psid_len is not None and psid is not None and np.count_nonzero(psid_len):
            numbers = self._numbers(slots, psid_len, psid)
        news = np.flatnonzero(self._versions[numbers] <= np.uint64(version))
        self._versions[numbers[news]] = version
        return news

    def complete(self, version: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """End a snapshot at `version`; the slots and PSIDs that it does not decide about.

        It is too old for them.
        """
        whole = np.arange(self._slots, dtype=np.uint32)
        newer = np.ones(len(self._versions), np.bool_)
        if version >= self._floor:
            self._floor = version
            newer = self._versions > np.uint64(version)
        names = self._names[newer[self._slots :]]
        whole = whole[newer[: self._slots]]
        slots = np.concatenate([whole, (names >> _PSID_BITS).astype(np.uint32)])
        psids = np.concatenate([np.zeros(len(whole), np.uint16), names.astype(np.uint16)])
        return slots, psids

    def _numbers(
        self,
        slots: npt.NDArray[np.uint32],
        psid_len: npt.NDArray[np.uint8],
        psid: npt.NDArray[np.uint16],
    ) -> npt.NDArray[np.uint32]:
        """Where the versions of bindings are, after making room for those of new port sets."""
        for length in np.unique(psid_len[psid_len > self._lengths[slots]]).tolist():
            wanting = (psid_len == length) & (self._lengths[slots] < length)
            self._number(np.unique(slots[wanting]), length)
        return np.where(psid_len > 0, self._first[slots] + psid, slots).astype(np.uint32)

    def _number(self, slots: npt.NDArray[np.uint32], length: int) -> None:
        """Give new numbers to the 2^`length` port sets of each of `slots`; what was known stays."""
        size = 1 << length
        first = len(self._versions) + np.arange(len(slots), dtype=np.uint32) * np.uint32(size)
        versions = np.zeros((len(slots), size), np.uint64)
        for former in np.unique(self._lengths[slots][self._lengths[slots] > 0]).tolist():
            rows = np.flatnonzero(self._lengths[slots] == former)
            known = self._first[slots[rows], None] + np.arange(1 << former, dtype=np.uint32)
            versions[rows, : 1 << former] = self._versions[known]
            self._names[known - np.uint32(self._slots)] = 0  # of no address any more
            self._versions[known] = 0
        names = slots.astype(np.uint64)[:, None] << _PSID_BITS | np.arange(size, dtype=np.uint64)
        self._versions = np.concatenate([self._versions, versions.ravel()])
        self._names = np.concatenate([self._names, names.ravel()])
        self._first[slots], self._lengths[slots] = first, length
