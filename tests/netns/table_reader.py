"""A process that looks bindings up as a worker does, and checks every row; see `test_table`.

`python -m tests.netns.table_reader TABLES_FD MARKS_FD WORKER WORKERS PSID_LEN` runs until SIGTERM
and then prints one JSON object: how many look-ups, and how many of each violation.

Bindings have numbers, `at`. With a PSID_LEN of 0 each is of an address, else 2^PSID_LEN of them are
the port sets of one.
"""

from __future__ import annotations

import json
import mmap
import signal
import sys
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.daemon.shared import SharedTables, Sizes
from dstmrouter.pipeline.bindings import DIVISION_BITS, RowKind

if TYPE_CHECKING:
    from dstmrouter.binding import Words6

POOL4: Final = 0xCB007000  # 203.0.112.0
BINDINGS: Final = 512  # of two /24 at most: few, so that each of them changes all the time
SPARE_SETS: Final = 64  # slots
BURST: Final = 256
REMOVE_EVERY: Final = 3  # versions divisible by this are removals
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def sizes(workers: int, psid_len: int) -> Sizes:
    """Few rows and slots, so that they are used again at once."""
    set_slots = BINDINGS + SPARE_SETS if psid_len else 0
    return Sizes(
        workers=workers, blocks=3, leases=BINDINGS, hops=16, routes=16, set_slots=set_slots
    )


def address_of(at: npt.NDArray[np.int64], psid_len: int) -> npt.NDArray[np.uint32]:
    """The address of a binding; its PSID are the lower bits of its number."""
    return (POOL4 + (at >> psid_len)).astype(np.uint32)


def client_of(at: npt.NDArray[np.int64], version: npt.NDArray[np.uint32]) -> Words6:
    """The client of a binding in one of its versions: all 16 octets follow from both."""
    words = np.empty((len(at), 2), np.uint64)
    words[:, 0] = np.uint64(0x20) | (at.astype(np.uint64) << np.uint64(32))
    words[:, 1] = version.astype(np.uint64) | (_check(words[:, 0], version) << np.uint64(32))
    return words


def number_of(client6: Words6) -> npt.NDArray[np.int64]:
    """Which binding a client stands for."""
    return (client6[:, 0] >> np.uint64(32)).astype(np.int64)


def version_of(client6: Words6) -> npt.NDArray[np.uint32]:
    """Which version a client stands for."""
    return client6[:, 1].astype(np.uint32)


def hop_of(client6: Words6) -> npt.NDArray[np.uint32]:
    """The hop of a client; it has no meaning but this."""
    return ((client6[:, 0] ^ client6[:, 1]) * _MIX >> np.uint64(40)).astype(np.uint32)


def _check(word: npt.NDArray[np.uint64], version: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    mixed: npt.NDArray[np.uint64] = ((word + version) * _MIX) >> np.uint64(33)
    return mixed


class Marks:
    """What the writer says about versions, shape (2, BINDINGS): acknowledged, and begun."""

    SIZE: Final = 2 * BINDINGS * 4

    def __init__(self, fd: int) -> None:
        shared = np.frombuffer(mmap.mmap(fd, self.SIZE), np.uint32).reshape(2, BINDINGS)
        self.acknowledged: npt.NDArray[np.uint32] = shared[0]  # nobody uses an older one any more
        self.begun: npt.NDArray[np.uint32] = shared[1]  # nobody has seen a newer one yet


class Reader:
    """Looks up, holds the rows as long as a burst takes, and judges them."""

    def __init__(self, shared: SharedTables, marks: Marks, worker: int, psid_len: int) -> None:
        self._psid_len = psid_len
        self._shared = shared
        self._marks = marks
        self._worker = worker
        self._random = np.random.default_rng(worker)
        self._stop = False
        self._by_words = False
        self.looked_up = 0
        self.violations = dict.fromkeys(("torn", "of another", "stale", "from the future"), 0)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self._stop = True

    def run(self) -> None:
        """Take turns until told to stop."""
        turns = self._shared.turns
        while not self._stop:
            at = self._random.integers(0, BINDINGS, BURST)
            turns.begin(self._worker)
            rows = self._look_up(at)
            # The rows are used up to here, so what was acknowledged by now must be in them.
            acknowledged = self._marks.acknowledged[at]
            turns.end(self._worker)
            self._judge(at, rows, acknowledged, self._marks.begun[at])

    def _look_up(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """By the words of `divided`, as the compiled pass does, or by the rows alone: in turns."""
        bindings = self._shared.tables.bindings
        self._by_words = not self._by_words
        slots = bindings.slot_of(address_of(at, self._psid_len))
        psids = (at & ((1 << self._psid_len) - 1)).astype(np.uint32)
        if self._by_words:
            words = bindings.divided[slots]
            marks = words & -words
            first = (words ^ marks) & np.uint32((1 << DIVISION_BITS) - 1)
            slots = np.where(words == 0, slots, bindings.first_set_slot + first + psids)
        rows = bindings.rows_of(slots)
        shared = np.flatnonzero(rows["kind"] == RowKind.SHARED)
        rows[shared] = bindings.rows_of(rows["base"][shared] + psids[shared])
        return rows

    def _judge(
        self,
        at: npt.NDArray[np.int64],
        rows: npt.NDArray[np.void],
        acknowledged: npt.NDArray[np.uint32],
        begun: npt.NDArray[np.uint32],
    ) -> None:
        self.looked_up += len(at)
        bound = rows["kind"] == RowKind.BOUND
        version, number = version_of(rows["client6"]), number_of(rows["client6"])
        whole = (rows["client6"] == client_of(number, version)).all(axis=1)
        whole &= rows["hop"] == hop_of(rows["client6"])
        whole &= rows["ipv4"] == address_of(number, self._psid_len)
        whole &= rows["psid_len"] == self._psid_len
        # An unbound address is the newest removal that could be meant.
        removal = begun - begun % REMOVE_EVERY
        seen = np.where(bound, version, removal)
        for name, wrong in (
            ("torn", bound & ~whole),
            ("of another", bound & whole & (number != at)),
            ("stale", seen < acknowledged),
            ("from the future", seen > begun),
        ):
            self.violations[name] += int(np.count_nonzero(wrong))


def main() -> None:
    """Run one reader."""
    tables_fd, marks_fd, worker, workers, psid_len = map(int, sys.argv[1:])
    shared = SharedTables(tables_fd, sizes(workers, psid_len))
    reader = Reader(shared, Marks(marks_fd), worker, psid_len)
    print("ready", flush=True)
    reader.run()
    print(json.dumps({"looked_up": reader.looked_up} | reader.violations), flush=True)


if __name__ == "__main__":
    main()
