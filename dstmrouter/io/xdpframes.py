"""Sending as XDP frames: packet memory and TX rings that a program in the kernel reads.

In copy mode, AF_XDP makes a socket buffer of each packet and sends it alone: 900 ns over veth on a
machine where the same packet as an XDP frame takes 150 (both with the far end's receiving, and
15 us for each call of the second). Drivers take such frames by `ndo_xdp_xmit`.

The packets lie in an array of BPF, mapped into this process and registered as its UMEM, so the
program copies them straight from where the pipeline has written them.
"""

from __future__ import annotations

import mmap
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from dstmrouter.errors import ConfigError
from dstmrouter.io import uapi
from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.liveframes import LIVE_FRAME_MAX, KnownProgram, LiveRun
from dstmrouter.io.ring import ConsumerRing, ProducerRing, RingOffsets
from dstmrouter.io.uapi import BpfMapType, BpfProgType
from dstmrouter.io.umem import DESC, Umem
from dstmrouter.io.xdpframes_program import (
    CONSUMER_AT,
    CONTROL,
    CONTROL_LEN,
    ENTRIES_AT,
    FLAGS_AT,
    NEW_LEN,
    PRODUCER_AT,
    REFUSED_AT,
    Layout,
    assemble,
)

if TYPE_CHECKING:
    import numpy.typing as npt

MEMORY_MAX: Final = 1 << 29  # octets: how far into a value the kernel's verifier follows us
DEVICE: Final = "dstm-send"
_LINE: Final = 64  # octets: rings share none


class PacketArray:
    """A UMEM in an array of BPF; close both."""

    def __init__(self, frames: int, chunk_size: int) -> None:
        """Raises ConfigError if it is too large, SystemCallError if the kernel has no memory."""
        octets = frames * chunk_size + mmap.PAGESIZE  # as `Umem` wants it
        if octets >= MEMORY_MAX:
            raise ConfigError(
                f"[umem] frames x chunk_size = {frames * chunk_size} octets: expected less than "
                f"{MEMORY_MAX} to send as XDP frames"
            )
        spec = MapSpec(BpfMapType.ARRAY, 4, octets, 1, uapi.BPF_F_MMAPABLE)
        with ExitStack() as undo:
            self.table = undo.enter_context(Map.create(spec, "dstm_frames"))
            self.umem = Umem(frames, chunk_size, self.table.memory(octets))
            undo.callback(self.umem.close)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Give the memory back; harmless when repeated."""
        self._undo.close()


class FrameSender:
    """Rings of packets in one `PacketArray`, one for each device, and the program that sends them.

    Frames that a device does not take are lost and nobody is told: ask `XdpFeatures` first.
    """

    def __init__(self, memory: PacketArray, rings: int, slots: int) -> None:
        """`rings` of `slots` each (a power of two); raises SystemCallError."""
        umem = memory.umem
        self.longest = min(LIVE_FRAME_MAX, umem.chunk_size)
        self.fits_all = umem.max_frame_len <= self.longest  # whatever was received
        ring_len = -(-(ENTRIES_AT + slots * DESC.itemsize) // _LINE) * _LINE
        self._octets = CONTROL_LEN + rings * ring_len
        with ExitStack() as undo:
            spec = MapSpec(BpfMapType.ARRAY, 4, self._octets, 1, uapi.BPF_F_MMAPABLE)
            self._table = undo.enter_context(Map.create(spec, "dstm_send"))
            layout = Layout(
                memory_fd=memory.table.fileno(),
                memory_len=umem.size,
                longest=self.longest,
                rings_fd=self._table.fileno(),
                ring_len=ring_len,
                rings=rings,
                slots=slots,
            )
            program = Program.load(BpfProgType.XDP, assemble(layout), "dstm_send")
            undo.enter_context(program)
            self.device = undo.enter_context(KnownProgram(program, DEVICE)).name
            self._run = LiveRun(program, bytes(NEW_LEN))
            view = self._table.memory(self._octets)  # unmapped when nobody looks at it any more
            self._control: npt.NDArray[np.void] = np.frombuffer(view, CONTROL, 1)
            self._starts = [CONTROL_LEN + number * ring_len for number in range(rings)]
            self._refused = [np.frombuffer(view, "<u8", 1, at + REFUSED_AT) for at in self._starts]
            self._slots = slots
            self._undo = undo.pop_all()

    def ring(self, number: int) -> tuple[ProducerRing, ConsumerRing]:
        """Both sides of a ring; the caller closes them."""
        start = self._starts[number]
        at = RingOffsets(*(start + n for n in (PRODUCER_AT, CONSUMER_AT, ENTRIES_AT, FLAGS_AT)))
        ours = ProducerRing(self._table.memory(self._octets), at, self._slots, DESC)
        return ours, ConsumerRing(self._table.memory(self._octets), at, self._slots, DESC)

    def send(self, number: int, ifindex: int, count: int) -> None:
        """Send the first `count` packets of a ring; raises SystemCallError.

        None of them may be longer than `longest`. What the program has taken is gone, sent or lost,
        in either case.
        """
        self._control["ring"] = self._starts[number]
        self._control["ifindex"] = ifindex
        self._run.run(count)

    def refused(self, number: int) -> int:
        """Packets of a ring that were lost because they did not fit a frame."""
        return int(self._refused[number][0])

    def close(self) -> None:
        """Remove program and device; harmless when repeated. Rings stay until they are closed."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
