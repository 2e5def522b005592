"""Where the time of workers goes: calls, packets and time of every step, in shared memory.

The model is VPP's `show runtime`. Like counters, there is a line for each worker, which that worker
alone writes; a reader never stops one, and a worker that is started again goes on where its
predecessor ended.

Stamping every step of every turn would cost as much as forwarding a lone packet. So a worker
measures one turn in `MEASURED_EVERY`, at random distances; the steps that are marked exact are
rare, and measured each time. A line therefore holds, exact: the time of the worker, its turns, the
time of exact steps. Of the other steps it holds what the measured turns took: their shares of the
remaining time are estimates (`cli.ctl_runtime`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import mmap

    Octets: TypeAlias = mmap.mmap | bytearray | npt.NDArray[np.uint8]

MEASURED_EVERY: Final = 64  # turns, on the average
_LINE: Final = 64  # octets of a cache line: workers must not share one
_HEAD: Final = ("version", "all_ns", "turns", "measured_turns", "timeouts")
_COLUMNS: Final = 3  # calls, packets, ns
_TRIES: Final = 4  # a reader's, if a line is being written


class TurnStep(IntEnum):
    """What a worker does with its time; `help` is the text for people.

    `exact` steps are measured each time, the others in measured turns.
    """

    help: str
    exact: bool

    def __new__(cls, value: int, text: str, exact: bool = False) -> Self:
        """Make a member out of its number, its text, and whether it is exact."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.help = text
        member.exact = exact
        return member

    LOOP = 0, "the loop around the steps of a turn, quiescent points; twice a turn"
    RECLAIM = 1, "frames that were sent taken back, frames to receive into handed over"
    RECEIVE = 2, "received packets taken from a port"
    COMPILED_TURN = 3, "one compiled call: from RECLAIM to FINISH for the normal packets of a port"
    COMPILED = 4, "the compiled pass: normal packets forwarded; the others are left to numpy"
    NUMPY_LINK = 5, "numpy: link headers, what is IPv4 and what IPv6"
    NUMPY_ENCAP = 6, "numpy: IPv4 packets from outside, checked and encapsulated"
    NUMPY_DECAP = 7, "numpy: tunnel packets, checked, opened, and routed or sent to other clients"
    REASSEMBLY = 8, "numpy: IPv6 fragments (KEPT_PIECE, DROP_PIECE_*)"
    SHARED_PIECES = 9, "numpy: IPv4 fragments of shared addresses (KEPT_FRAGMENT)"
    RELAY = 10, "numpy: ICMPv6 errors about tunnel packets (DROP_ICMPV6*)"
    REFUSALS = 11, "numpy: ICMPv4 errors about dropped packets (DROP_NO_BINDING, DROP_TTL, ...)"
    SPOOFERS = 12, "numpy: ICMPv6 errors for spoofed sources (DROP_SPOOF_*)"
    PIECE_ERRORS = 13, "numpy: ICMPv6 errors about fragments"
    FORWARD = 14, "the rest of forwarding: filters of ports, results put together"
    WATCH = 15, "copies for dstmctl trace and capture"
    SEND = 16, "packets handed to the rings of their ports"
    FINISH = 17, "frames given back, packets counted, packets of our own sent"
    FLUSH = 18, "the kernel told of packets to send; without zero-copy it sends them here"
    EMPTY = 19, "turns that found no packet"
    EXPIRE = 20, "once a second: what time alone brings about, as fragments given up", True
    TELL = 21, "once a second: the state of the worker written down for the supervisor", True
    WAIT = 22, "asleep in poll() until a packet comes", True

    @property
    def idle(self) -> bool:
        """Whether nothing is worked on in this time."""
        return self in {TurnStep.EMPTY, TurnStep.WAIT}


class Meter(Protocol):
    """Measures a turn, step by step."""

    @property
    def on(self) -> bool:
        """Whether this turn is measured; ask before calling `lap`."""
        ...

    def lap(self, step: int, packets: int) -> None:
        """The time since the last call, or since the turn began, was for `step`."""
        ...

    def aside(self, step: int) -> contextlib.AbstractContextManager[None]:
        """Time of the block is for an exact step, measured turn or not."""
        ...


class NoMeter:
    """Measures nothing."""

    on: Final = False

    def lap(self, step: int, packets: int) -> None:
        """Do nothing."""

    def aside(self, _step: int) -> contextlib.AbstractContextManager[None]:
        """Do nothing about the block."""
        return contextlib.nullcontext()


UNMEASURED: Final = NoMeter()


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """What a worker has measured since the router started."""

    all_ns: int = 0  # time of the worker, whatever it did
    turns: int = 0
    measured_turns: int = 0
    timeouts: int = 0  # WAITs that ended without a packet
    steps: npt.NDArray[np.uint64] = dataclasses.field(
        default_factory=lambda: np.zeros((len(TurnStep), _COLUMNS), np.uint64)
    )
    """Shape (len(TurnStep), 3): calls, packets, ns."""


class Runtime:
    """View over one shared buffer: a line a worker."""

    def __init__(self, buffer: Octets, workers: int) -> None:
        self.workers = workers
        stride = self._stride()
        self._heads: npt.NDArray[np.uint64] = np.ndarray(
            (workers, len(_HEAD)), np.uint64, buffer, 0, (stride, 8)
        )
        self._steps: npt.NDArray[np.uint64] = np.ndarray(
            (workers, len(TurnStep), _COLUMNS),
            np.uint64,
            buffer,
            8 * len(_HEAD),
            (stride, 8 * _COLUMNS, 8),
        )

    @classmethod
    def size(cls, workers: int) -> int:
        """Octets of shared memory."""
        return workers * cls._stride()

    @staticmethod
    def _stride() -> int:
        octets = 8 * (len(_HEAD) + len(TurnStep) * _COLUMNS)
        return -(-octets // _LINE) * _LINE

    def write(self, worker: int, line: Line) -> None:
        """Replace the line of a worker; the worker's."""
        head = self._heads[worker]
        head[0] += np.uint64(1 + (int(head[0]) & 1))  # a predecessor may have died in the middle
        head[1:] = line.all_ns, line.turns, line.measured_turns, line.timeouts
        self._steps[worker] = line.steps
        head[0] += np.uint64(1)

    def read(self, worker: int) -> Line:
        """The line of a worker. If it died while it wrote, parts may be newer than others."""
        line, whole = self._look(worker)
        for _ in range(_TRIES):
            if whole:
                break
            line, whole = self._look(worker)
        return line

    def _look(self, worker: int) -> tuple[Line, bool]:
        """A line as it is, and whether nobody wrote meanwhile."""
        head = self._heads[worker]
        version, all_ns, turns, measured_turns, timeouts = head.tolist()
        line = Line(all_ns, turns, measured_turns, timeouts, self._steps[worker].copy())
        return line, not version & 1 and version == int(head[0])
