"""The steps under watch: whatever they write, send, keep or make has to be where it may be."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.umem import XDP_PACKET_HEADROOM
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.daemon.engine import Steps
    from dstmrouter.io.umem import Umem
    from dstmrouter.pipeline.outcome import Outcome

    Numbers = npt.NDArray[np.int64]

BEFORE: Final = 62  # octets before a frame that its new headers may take: 40, a tag, an option, 2
CANARY_LEN: Final = 128  # octets at the start of every chunk that nothing is ever written to
CANARY: Final = 0xC5
KEPT: Final = np.array([verdict.kept for verdict in Verdict])
FORWARDED: Final = np.array([verdict.forwarded for verdict in Verdict])


class Watched:
    """Steps as the engine wants them, checked after every burst."""

    def __init__(self, steps: Steps, umem: Umem) -> None:
        self._steps, self._pool = steps, umem.pool
        self._chunk = umem.chunk_size
        whole = np.frombuffer(umem.memory, np.uint8)
        self._chunks = whole[: umem.size].reshape(-1, self._chunk)
        self._behind = whole[umem.size : umem.size + mmap.PAGESIZE]
        self._chunks[:, :CANARY_LEN] = CANARY
        self._columns = np.arange(self._chunk)
        self._before, self._behind_before = self._chunks.copy(), self._behind.copy()
        self._kept = np.zeros(umem.frames, np.bool_)
        self._touched = np.zeros(umem.frames, np.bool_)
        self.engine = steps.engine
        self.made = 0  # packets
        self.again = 0  # counted before, when they were kept
        self.noted = 0

    def process(self, at: Numbers, length: Numbers, port: int, now_s: float) -> Outcome:
        """As the steps do it."""
        np.copyto(self._before, self._chunks)
        # Those that nobody has may be taken for packets of our own, and given back without one.
        free = self._pool.stack[: len(self._pool)].astype(np.int64)
        self._touched[:] = self._kept
        self._touched[free // self._chunk] = True
        outcome = self._steps.process(at, length, port, now_s)
        self._follow(outcome, at)
        behind = np.array_equal(self._behind, self._behind_before)
        assert behind, "octets behind the last chunk were written"
        self._check_chunks(at, length, outcome)
        return outcome

    def expire(self, now_s: float) -> Outcome:
        """As the steps do it."""
        outcome = self._steps.expire(now_s)
        self._follow(outcome, np.zeros(0, np.int64))
        return outcome

    def held(self) -> int:
        """As the steps say."""
        return self._steps.held()

    def _follow(self, outcome: Outcome, at: Numbers) -> None:
        """What is kept, what leaves: every frame once."""
        verdicts = outcome.verdicts
        assert len(verdicts) == len(at)
        kept = KEPT[verdicts]
        self._kept[at[kept] // self._chunk] = True
        again = [*(late.at for late in outcome.late), *(part.at for part in outcome.ended)]
        for back in (*outcome.released, *again):
            numbers = np.asarray(back, np.int64) // self._chunk
            assert self._kept[numbers].all(), "a frame came back that was not kept"
            assert len(np.unique(numbers)) == len(numbers), "a frame came back twice"
            self._kept[numbers] = False
        assert int(np.count_nonzero(self._kept)) == self._steps.held(), "not what is held"
        self._check_sends(outcome, at)
        for made in outcome.made:
            self._inside(made.at, made.length)
            self._well_formed(made.at, made.length)
            self.made += len(made.at)
        self.noted += sum(noted.packets for noted in outcome.noted)
        self.again += sum(map(len, again))

    def _check_sends(self, outcome: Outcome, at: Numbers) -> None:
        sent = np.zeros(len(at), np.intp)
        for send in outcome.sends:
            np.add.at(sent, send.rows, 1)
            self._inside(send.at, send.length)
            assert np.array_equal(send.at // self._chunk, at[send.rows] // self._chunk)
            self._well_formed(send.at, send.length)
        assert np.array_equal(sent, FORWARDED[outcome.verdicts]), "sent and forwarded differ"

    def _inside(self, at: Numbers, length: Numbers) -> None:
        offset = np.asarray(at, np.int64) % self._chunk
        assert (length > 0).all(), "an empty frame is sent"
        assert (offset >= XDP_PACKET_HEADROOM - BEFORE).all(), "a frame starts too early"
        assert (offset + length <= self._chunk).all(), "a frame ends behind its chunk"

    def _well_formed(self, at: Numbers, length: Numbers) -> None:
        """What leaves has the lengths and header checksums that it must have."""
        octets = self._chunks.reshape(-1)
        tagged = self._words(octets, at + 12) == ether.ETHERTYPE_VLAN
        at, length = at + 14 + 4 * tagged, length - 14 - 4 * tagged
        wide = octets[at] >> 4 == 6
        assert (self._words(octets, at[wide] + 4) == length[wide] - 40).all(), "payload length"
        inside = ~wide | (octets[at + 6] == 4)
        at, length = (at + 40 * wide)[inside], (length - 40 * wide)[inside]
        assert (octets[at] >> 4 == 4).all(), "neither IPv4 nor IPv6 leaves"
        assert (self._words(octets, at + 2) == length).all(), "total length"
        plain = at[octets[at] == 0x45]
        sums = self._words(octets, plain[:, None] + np.arange(0, 20, 2)).sum(axis=1)
        assert ((sums & 0xFFFF) + (sums >> 16) == 0xFFFF).all(), "header checksum"

    @staticmethod
    def _words(octets: npt.NDArray[np.uint8], at: Numbers) -> Numbers:
        return octets[at].astype(np.int64) << 8 | octets[at + 1]

    def _check_chunks(self, at: Numbers, length: Numbers, outcome: Outcome) -> None:
        """Only frames and the room before them, frames of our own and kept ones may change."""
        changed = np.flatnonzero(
            (self._chunks.view(np.uint64) != self._before.view(np.uint64)).any(axis=1)
        )
        octets = self._chunks[changed] != self._before[changed]
        for late in outcome.late:
            self._touched[np.asarray(late.at, np.int64) // self._chunk] = True
        octets[(self._touched | self._kept)[changed], CANARY_LEN:] = False
        row_of = np.full(len(self._chunks), -1)
        row_of[at // self._chunk] = np.arange(len(at))
        rows = row_of[changed]
        first, last = at[rows] % self._chunk - BEFORE, at[rows] % self._chunk + length[rows]
        columns = self._columns
        inside = (columns >= first[:, None]) & (columns < last[:, None])
        octets &= ~(inside & (rows >= 0)[:, None])
        if octets.any():
            found, octet = np.argwhere(octets)[0]
            about = f"octet {octet} of chunk {changed[found]} (frame {rows[found]} of the burst)"
            raise AssertionError(f"{about} was written")
