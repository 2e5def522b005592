"""Samples of packets on their way from workers to the supervisor, and the order to take them.

The supervisor writes one order for all workers and counts its `version` up: odd while packets are
wanted. That is what a worker looks at before a burst. Every worker has a ring of samples, which it
alone fills and the supervisor alone empties; when it is full, packets pass unseen and are counted.
x86-64 keeps stores in order, so a sample is complete when it is counted as written.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline.cbpf import INSTRUCTION, MAX_INSTRUCTIONS

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.memory import Octets

SLOTS: Final = 64  # samples of a worker that wait for the supervisor
FRAME_MAX: Final = 4096  # octets; no chunk is larger
NO_PORT: Final = 255

_SAMPLE: Final = struct.Struct("=QQIIBBBB")  # time, order, lengths, ports, verdict, whether made
_FRAME_AT: Final = 64  # octets from the start of a slot
_SENT_AT: Final = _FRAME_AT + FRAME_MAX
_SLOT: Final = _SENT_AT + FRAME_MAX
_HEAD: Final = np.dtype([("written", "<u8"), ("taken", "<u8"), ("missed", "<u8"), ("spare", "V40")])
_RING: Final = np.dtype([("head", _HEAD), ("slots", "u1", (SLOTS * _SLOT,))])
_ORDER: Final = np.dtype(
    [
        ("version", "<u8"),
        ("until_s", "<u8"),
        ("instructions", "<u4"),
        ("spare", "V44"),
        ("verdicts", "?", (256,)),
        ("program", "u1", (MAX_INSTRUCTIONS * INSTRUCTION.itemsize,)),
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One packet, before and after the pipeline."""

    time_ns: int  # since the epoch
    port: int  # by which it came; of a packet of our own, by which it left
    frame: bytes  # as it came
    verdict: int
    made: bool = False  # a packet of our own, which never came
    sent_port: int = NO_PORT
    sent: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """Which packets are wanted: those with a verdict of `verdicts` that the filter accepts."""

    version: int
    verdicts: npt.NDArray[np.bool_]  # shape (256,)
    program: bytes  # classic BPF; empty for all


class TapBoard:
    """Views over one shared buffer, for workers and supervisor alike."""

    def __init__(self, buffer: Octets, workers: int) -> None:
        self._order = np.ndarray((), _ORDER, buffer)
        rings = np.ndarray(workers, _RING, buffer, _ORDER.itemsize)
        self._heads = rings["head"]
        self._slots = [slots.data for slots in rings["slots"]]
        self._version: npt.NDArray[np.uint64] = np.ndarray(1, np.uint64, buffer)
        self._flag = self._version.data  # read in a quarter of the time of an array's item

    @staticmethod
    def size(workers: int) -> int:
        """Octets of shared memory."""
        return _ORDER.itemsize + workers * _RING.itemsize

    # The supervisor's -------------------------------------------------------------------------

    def arm(self, verdicts: npt.NDArray[np.bool_], program: bytes, until_s: int) -> None:
        """Have workers sample from now on; what earlier orders brought is forgotten."""
        self.disarm()
        self._order["verdicts"] = verdicts
        self._order["instructions"] = len(program) // INSTRUCTION.itemsize
        self._order["program"][: len(program)] = np.frombuffer(program, np.uint8)
        self._heads["missed"] = 0
        self.extend(until_s)
        self._version += np.uint64(1)

    def extend(self, until_s: int) -> None:
        """Let the order end at a second of the router's clock, unless it is extended again."""
        self._order["until_s"] = until_s

    def disarm(self) -> None:
        """Have workers sample no more."""
        if self.armed:
            self._version += np.uint64(1)

    def take(self, worker: int, limit: int) -> list[Sample]:
        """Take up to `limit` samples of a worker that belong to the present order."""
        head, slots = self._heads[worker], self._slots[worker]
        first = int(head["taken"])
        end = min(first + limit, int(head["written"]))
        found = [_read(slots, number % SLOTS * _SLOT) for number in range(first, end)]
        head["taken"] = end
        version = self.version
        return [sample for order, sample in found if order == version]

    def missed(self) -> int:
        """Packets that passed unseen because nobody emptied the rings."""
        return int(self._heads["missed"].sum())

    # The workers' -----------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Of the order; odd while packets are wanted."""
        return self._flag[0]

    @property
    def armed(self) -> bool:
        """Whether packets are wanted."""
        return bool(self._flag[0] & 1)

    def until_s(self) -> int:
        """When the order ends, in seconds of the router's clock."""
        return int(self._order["until_s"])

    def order(self) -> Order | None:
        """The present order; None if there is none, or it is being changed."""
        version = self.version
        octets = int(self._order["instructions"]) * INSTRUCTION.itemsize
        program = self._order["program"][:octets].tobytes()
        order = Order(version, self._order["verdicts"].copy(), program)
        return order if version & 1 and version == self.version else None

    def room(self, worker: int) -> int:
        """How many samples the worker's ring can take."""
        head = self._heads[worker]
        return SLOTS - (int(head["written"]) - int(head["taken"]))

    def miss(self, worker: int, packets: int) -> None:
        """Count packets that passed unseen."""
        self._heads["missed"][worker] += np.uint64(packets)

    def put(self, worker: int, version: int, sample: Sample) -> None:
        """Add a sample; there must be room."""
        head = self._heads[worker]
        written = int(head["written"])
        _write(self._slots[worker], written % SLOTS * _SLOT, version, sample)
        head["written"] = written + 1


def _write(slots: memoryview, at: int, version: int, sample: Sample) -> None:
    sizes = len(sample.frame), len(sample.sent)
    ports = sample.port, sample.sent_port
    about = (sample.time_ns, version, *sizes, *ports, sample.verdict, sample.made)
    _SAMPLE.pack_into(slots, at, *about)
    for start, octets in ((at + _FRAME_AT, sample.frame), (at + _SENT_AT, sample.sent)):
        slots[start : start + len(octets)] = octets


def _read(slots: memoryview, at: int) -> tuple[int, Sample]:
    """The order that a sample belongs to, and the sample."""
    time_ns, version, *sizes, port, sent_port, verdict, made = _SAMPLE.unpack_from(slots, at)
    frame, sent = (
        bytes(slots[at + start : at + start + size])
        for start, size in zip((_FRAME_AT, _SENT_AT), sizes, strict=True)
    )
    return version, Sample(time_ns, port, frame, verdict, bool(made), sent_port, sent)
