"""A trial: frames offered to a device at a rate for some time, and what became of them.

A tester has two ports, in one namespace: "6" towards the clients, "4" towards the IPv4 Internet.
Frames of direction encap leave by "4" and come back by "6", those of decap the other way round.
"""

from __future__ import annotations

import dataclasses
import fcntl
import socket
import struct
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from dstmrouter.io.owner import Owner
from dstmrouter.wire import ether
from perf.rfc8219.frames import FCS_LEN, OVERHEAD, Direction, template
from perf.rfc8219.receiver import Receiver
from perf.rfc8219.shared import SLOT_BITS
from perf.rfc8219.source import Pace, Source, Step
from perf.sink import DRAIN_S, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from perf.rfc8219.frames import Frames
    from perf.rfc8219.histogram import Delays

SIOCGIFMTU: Final = 0x8921  # bits/ioctls.h
SIOCGIFHWADDR: Final = 0x8927
IFNAMSIZ: Final = 16
IFREQ: Final = struct.Struct(f"={IFNAMSIZ}s24x")
SLOT_SPARE: Final = 2  # times the length of a trial fits into its slots
DIRECTIONS: Final = {
    "encap": (Direction.ENCAP,),
    "decap": (Direction.DECAP,),
    "both": (Direction.ENCAP, Direction.DECAP),
}
SIDES: Final = {Direction.ENCAP: ("4", "6"), Direction.DECAP: ("6", "4")}  # sent by, received by


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What to offer; rates are frames/s in each direction, None for as many as can be."""

    frames: Frames
    direction: str = "encap"  # or "decap", "both"
    seconds: float = 1.0
    rate: float | None = None
    then: float | None = None  # another rate, from half of the time on
    delays_after_s: float = 0.0  # of the trial: frames sent before are in no figure of delays
    burst: int | None = None  # so many frames as fast as they can be, instead of a time


@dataclasses.dataclass(frozen=True, slots=True)
class Stream:
    """What became of the frames of one direction; slots are counts by the time of sending."""

    sent: int
    received: int
    strange: int
    reordered: int
    seconds: float  # from the first frame sent to the last
    delays: Delays
    sent_slots: npt.NDArray[np.uint64]
    received_slots: npt.NDArray[np.uint64]
    slot_s: float

    @property
    def lost(self) -> int:
        """Frames that did not arrive."""
        return max(self.sent - self.received, 0)

    @property
    def loss(self) -> float:
        """Share of the frames sent (RFC 1242 section 3.6)."""
        return self.lost / self.sent if self.sent else 0.0

    @property
    def offered(self) -> float:
        """Frames/s sent."""
        return self.sent / self.seconds if self.seconds else 0.0

    @property
    def forwarded(self) -> float:
        """Frames/s received, of those sent in this time."""
        return self.received / self.seconds if self.seconds else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The streams of a trial."""

    streams: dict[Direction, Stream]

    @property
    def loss(self) -> float:
        """Of the direction that lost more."""
        return max(stream.loss for stream in self.streams.values())

    @property
    def offered(self) -> float:
        """Frames/s sent in each direction."""
        return min(stream.offered for stream in self.streams.values())

    @property
    def forwarded(self) -> float:
        """Frames/s received, of the direction with fewer."""
        return min(stream.forwarded for stream in self.streams.values())


class Tester(Owner):
    """Both ports; a context manager."""

    def __init__(
        self,
        entered: Callable[[], AbstractContextManager[None]],
        ports: Mapping[str, str],
        macs: Mapping[str, tuple[str, str]],
        variants: int,
        *,
        dual: bool = False,
    ) -> None:
        """`entered()` lets this thread be in the namespace of the ports.

        `macs` gives for each port the address to send to and the one to send from, `variants` is
        the number of bindings that frames belong to, a power of two. `dual` is the set-up of two
        devices, one of which makes the tunnel and the other ends it.
        """
        self._entered = entered
        self._ports, self._macs, self._variants = ports, macs, variants
        self._sources: dict[tuple[Frames, str], Source] = {}
        self._number, self._dual = 0, dual
        with ExitStack() as undo, entered():
            self._receivers = {
                side: undo.enter_context(Receiver(port)) for side, port in ports.items()
            }
            self._undo = undo.pop_all()

    def run(self, trial: Trial) -> Outcome:
        """Offer, wait until nothing arrives any more, count."""
        source = self._source(trial)
        directions = DIRECTIONS[trial.direction]
        self._number = self._number % 0xFFFF + 1
        begun, shift = time.monotonic_ns(), slot_shift(trial.seconds)
        counted = begun + round(trial.delays_after_s * 1e9)
        many = len(directions)
        rate, then = (rate and rate * many for rate in (trial.rate, trial.then))
        source.prepare(self._number, Pace(rate, then, trial.seconds / 2), begun, shift)
        for receiver in self._receivers.values():
            receiver.prepare(self._number, begun, shift, delays_from_ns=counted)
        with self._entered():
            if trial.burst is None:
                source.send(trial.seconds)
            else:
                source.send_some(trial.burst * many)
        settled(self._received)
        sent, seconds = source.sent(), source.seconds()
        streams = {}
        for number, direction in enumerate(directions):
            receiver = self._receivers[SIDES[direction][1]]
            streams[direction] = Stream(
                sent=sent[number],
                received=receiver["received"],
                strange=receiver["strange"],
                reordered=receiver["reordered"],
                seconds=seconds,
                delays=receiver.delays(),
                sent_slots=source.slots(number),
                received_slots=receiver.slots(),
                slot_s=(1 << shift) / 1e9,
            )
        return Outcome(streams)

    def _source(self, trial: Trial) -> Source:
        """The source of this schedule; programs are kept, loading takes longer than a burst."""
        key = (trial.frames, trial.direction)
        if key not in self._sources:
            with self._entered():
                self._check_mtu(trial.frames)
                source = Source(self._schedule(trial), self._variants)
            self._sources[key] = self._undo.enter_context(source)
        return self._sources[key]

    def _schedule(self, trial: Trial) -> list[Step]:
        return [
            Step(
                template(direction, size, self._macs, dual=self._dual),
                number,
                socket.if_nametoindex(self._ports[SIDES[direction][0]]),
            )
            for size in trial.frames.sizes
            for number, direction in enumerate(DIRECTIONS[trial.direction])
        ]

    def _check_mtu(self, frames: Frames) -> None:
        """ValueError if a port cannot send or receive the largest of these frames."""
        overhead = {"6": 0 if self._dual else OVERHEAD, "4": 0}
        for side, port in self._ports.items():
            needed = max(frames.sizes) - FCS_LEN - ether.HEADER_LEN + overhead[side]
            mtu = mtu_of(port)
            if mtu < needed:
                raise ValueError(f"{port}: MTU {mtu}, frames {frames.name} need {needed}")

    def _received(self) -> int:
        return sum(receiver["received"] for receiver in self._receivers.values())


def mtu_of(interface: str) -> int:
    """MTU of an interface of this thread's namespace (sysfs shows that of the process)."""
    return int.from_bytes(_asked(interface, SIOCGIFMTU)[:4], sys.byteorder)


def mac_of(interface: str) -> str:
    """MAC address of an interface of this thread's namespace."""
    return _asked(interface, SIOCGIFHWADDR)[2:8].hex(":")  # behind the family


def _asked(interface: str, what: int) -> bytes:
    """The value of a struct ifreq (netdevice(7)); ValueError without such an interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker, what, IFREQ.pack(interface.encode()))
        except OSError as error:
            raise ValueError(f"interface {interface!r}: {error.strerror}") from None
    return answer[IFNAMSIZ:]


def slot_shift(seconds: float) -> int:
    """Slots of 2**shift ns, fine enough for all of a trial and what drains after it."""
    span = round((SLOT_SPARE * seconds + DRAIN_S) * 1e9)
    return max(span.bit_length() - SLOT_BITS, 0)
