"""What a worker hands to the steps, and what it gets back for a burst."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.decide import alike
from dstmrouter.pipeline.hops import same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.clients6 import ClientSet
    from dstmrouter.pipeline.hops import HopTable
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.pathmtu import PathMtus
    from dstmrouter.pipeline.ports import PortTable
    from dstmrouter.pipeline.routes4 import Routes4
    from dstmrouter.pipeline.usage import UsageTable


@dataclasses.dataclass(frozen=True, slots=True)
class Tables:
    """What a worker reads: shared memory that the supervisor writes, but for counts of usage."""

    bindings: BindingTable
    routes4: Routes4
    hops: HopTable
    ports: PortTable
    path_mtus: PathMtus
    clients6: ClientSet
    usage: UsageTable


@dataclasses.dataclass(slots=True)  # frozen would cost 1 us a burst
class Send:
    """Packets that leave by one port."""

    port: int
    rows: Index  # which frames of the burst
    at: Index  # where the frames start now, octets of frame memory
    length: npt.NDArray[np.int64]  # octets


@dataclasses.dataclass(slots=True)
class Made:
    """Packets of our own, in frames that were nobody's: ICMP errors, pieces of a packet."""

    port: int  # by which they leave
    verdicts: npt.NDArray[np.uint8]  # shape (n,), counted as those of a burst
    at: Index  # where the frames start, octets of frame memory
    length: npt.NDArray[np.int64]  # octets


@dataclasses.dataclass(slots=True)
class Noted:
    """Something to count besides the frames of a burst."""

    verdict: int
    packets: int
    octets: int


@dataclasses.dataclass(slots=True)
class Late:
    """Frames that had been kept, to be worked on as one more burst of their port."""

    port: int
    at: Index
    length: npt.NDArray[np.int64]


@dataclasses.dataclass(slots=True)
class Ended:
    """Frames that had been kept and are the caller's again, counted by what became of them."""

    verdicts: npt.NDArray[np.uint8]  # shape (n,)
    at: Index
    length: npt.NDArray[np.int64]


class Charges(Protocol):
    """Packets of a burst that are to be counted for their bindings: `usage.Charge`, or as good."""

    def moved(self, rows: Index) -> Charges:
        """The same, where frame i of the burst is number rows[i] of another one."""
        ...

    def settle(self, line: npt.NDArray[np.uint64], verdicts: npt.NDArray[np.uint8]) -> None:
        """Count what was sent, by the final verdicts of the burst; `line` is the worker's."""
        ...


@dataclasses.dataclass(slots=True)
class Outcome:
    """What became of a burst of n frames.

    A frame whose verdict says so has been sent (`Verdict.forwarded`) or is kept by the pipeline
    (`Verdict.kept`); all others are the caller's again.
    """

    verdicts: npt.NDArray[np.uint8]  # shape (n,), Verdict numbers
    sends: list[Send] = dataclasses.field(default_factory=list)
    gleaned: list[npt.NDArray[np.uint32]] = dataclasses.field(default_factory=list)
    """IPv4 destinations on our links whose neighbour is unknown: the kernel is to be asked."""
    made: list[Made] = dataclasses.field(default_factory=list)
    noted: list[Noted] = dataclasses.field(default_factory=list)
    late: list[Late] = dataclasses.field(default_factory=list)
    released: list[Index] = dataclasses.field(default_factory=list)
    """Frames, by any octet inside them, that had been kept and are the caller's again."""
    ended: list[Ended] = dataclasses.field(default_factory=list)
    octets: int | None = None
    """Of all n frames as they came, where that is known: to take the sum costs numpy 1 us."""
    charges: list[Charges] = dataclasses.field(default_factory=list)
    """Empty while nobody wants to know; good until the next burst."""

    def add(self, part: Outcome, rows: Index) -> None:
        """Take over what became of the frames at `rows`, as a burst of their own."""
        self.verdicts[rows] = part.verdicts
        for send in part.sends:
            self.sends.append(Send(send.port, rows[send.rows], send.at, send.length))
        self.gleaned += part.gleaned
        self.made += part.made
        self.noted += part.noted
        self.late += part.late
        self.released += part.released
        self.ended += part.ended
        self.charges += [charge.moved(rows) for charge in part.charges]


def by_port(ports: npt.NDArray[np.uint8]) -> Iterator[tuple[int, Index | slice]]:
    """Group packets by the port they leave by; normally that is one group, a slice."""
    if same(ports) or alike(ports):
        yield ports.item(0), slice(None)
        return
    for port in np.unique(ports):
        yield int(port), np.flatnonzero(ports == port)
