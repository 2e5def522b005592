"""Samples of packets on their way from workers to the supervisor, and the order to take them.

The supervisor writes one order for all workers and counts its `version` up: odd while packets are
wanted. That is what a worker looks at before a burst. Every worker has a ring of samples, which it
alone fills and the supervisor alone empties; when it is full, packets pass unseen and are counted.
x86-64 keeps stores in order, so a sample is complete when it is counted as written.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline.cbpf import INSTRUCTION, MAX_INSTRUCTIONS

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.memory import Octets

SLOTS: Final = 64  # samples of a worker that wait for the supervisor
FRAME_MAX: Final = 4096  # octets; no chunk is larger
NO_PORT: Final = 255

_SAMPLE: Final = np.dtype(
    [
        ("time_ns", "<u8"),
        ("version", "<u8"),
        ("length", "<u4"),
        ("sent_length", "<u4"),
        ("port", "u1"),
        ("sent_port", "u1"),
        ("verdict", "u1"),
        ("made", "u1"),
        ("spare", "V36"),
        ("frame", "u1", (FRAME_MAX,)),
        ("sent", "u1", (FRAME_MAX,)),
    ]
)
_HEAD: Final = np.dtype([("written", "<u8"), ("taken", "<u8"), ("missed", "<u8"), ("spare", "V40")])
_RING: Final = np.dtype([("head", _HEAD), ("slots", _SAMPLE, (SLOTS,))])
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
        self._rings = np.ndarray(workers, _RING, buffer, _ORDER.itemsize)
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
        _fill(self._order["program"], program)
        self._rings["head"]["missed"] = 0
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
        ring = self._rings[worker]
        head, slots = ring["head"], ring["slots"]
        first, version = int(head["taken"]), self.version
        end = min(first + limit, int(head["written"]))
        found = [slots[number % SLOTS].copy() for number in range(first, end)]
        head["taken"] = end
        return [_read(slot) for slot in found if int(slot["version"]) == version]

    def missed(self) -> int:
        """Packets that passed unseen because nobody emptied the rings."""
        return int(self._rings["head"]["missed"].sum())

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
        head = self._rings[worker]["head"]
        return SLOTS - (int(head["written"]) - int(head["taken"]))

    def miss(self, worker: int, packets: int) -> None:
        """Count packets that passed unseen."""
        self._rings[worker]["head"]["missed"] += np.uint64(packets)

    def put(self, worker: int, version: int, sample: Sample) -> None:
        """Add a sample; there must be room."""
        ring = self._rings[worker]
        written = int(ring["head"]["written"])
        slot = ring["slots"][written % SLOTS]
        slot["time_ns"], slot["version"] = sample.time_ns, version
        slot["port"], slot["sent_port"] = sample.port, sample.sent_port
        slot["verdict"], slot["made"] = sample.verdict, sample.made
        slot["length"], slot["sent_length"] = len(sample.frame), len(sample.sent)
        _fill(slot["frame"], sample.frame)
        _fill(slot["sent"], sample.sent)
        ring["head"]["written"] = written + 1


def _fill(field: npt.NDArray[np.uint8], octets: bytes) -> None:
    field[: len(octets)] = np.frombuffer(octets, np.uint8)


def _read(slot: np.void) -> Sample:
    return Sample(
        time_ns=int(slot["time_ns"]),
        port=int(slot["port"]),
        frame=slot["frame"][: int(slot["length"])].tobytes(),
        verdict=int(slot["verdict"]),
        made=bool(slot["made"]),
        sent_port=int(slot["sent_port"]),
        sent=slot["sent"][: int(slot["sent_length"])].tobytes(),
    )
