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
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dstmrouter.errors import ConfigError
from dstmrouter.io import uapi
from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.liveframes import LIVE_FRAME_MAX, KnownProgram, LiveRun
from dstmrouter.io.owner import Owner
from dstmrouter.io.ring import ConsumerRing, ProducerRing, RingOffsets
from dstmrouter.io.uapi import BpfMapType, BpfProgType
from dstmrouter.io.umem import DESC, Umem
from dstmrouter.io.xdpframes_program import (
    CONSUMER_AT,
    CONTROL_LEN,
    DONE_CONSUMER_AT,
    DONE_PRODUCER_AT,
    ENTRIES_AT,
    FLAGS_AT,
    IFINDEX_AT,
    LINE_AT,
    NEW_LEN,
    NO_LINE,
    PRODUCER_AT,
    REFUSED_AT,
    Layout,
    assemble,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.io.liveframes import RunPlace

# Octets of frames: the kernel's verifier follows us so far into a value, which has a page more.
MEMORY_MAX: Final = (1 << 29) - 2 * mmap.PAGESIZE
DEVICE: Final = "dstm-send"


class PacketArray(Owner):
    """A UMEM in an array of BPF; close both."""

    def __init__(self, frames: int, chunk_size: int) -> None:
        """Raises ConfigError if it is too large, SystemCallError if the kernel has no memory."""
        if frames * chunk_size > MEMORY_MAX:
            raise ConfigError(
                f"[umem] frames x chunk_size = {frames * chunk_size} octets: expected at most "
                f"{MEMORY_MAX} to send as XDP frames"
            )
        octets = frames * chunk_size + mmap.PAGESIZE  # as `Umem` wants it
        spec = MapSpec(BpfMapType.ARRAY, 4, octets, 1, uapi.BPF_F_MMAPABLE)
        with ExitStack() as undo:
            self.table = undo.enter_context(Map.create(spec, "dstm_frames"))
            self.umem = Umem(frames, chunk_size, self.table.memory(octets))
            undo.callback(self.umem.close)
            self._undo = undo.pop_all()


class SendPlace(NamedTuple):
    """What compiled code does `FrameSender.send` with."""

    run: RunPlace
    line_at: int  # address in the control record; it says which line is sent
    line: int  # of this line
    ifindex_at: int  # address, likewise


class FrameSender(Owner):
    """Lines of packets in one `PacketArray`, one for each device, and the program that sends them.

    A line is a TX ring and a completion ring; rings stay until they are closed, also when program
    and device are gone. Frames that a device does not take are lost and
    nobody is told: ask `XdpFeatures` first.
    """

    def __init__(self, packets: PacketArray, lines: int, slots: int, done_slots: int) -> None:
        """TX rings of `slots`, completion rings of `done_slots` (powers of two).

        Raises SystemCallError.
        """
        umem = packets.umem
        self.longest = min(LIVE_FRAME_MAX, umem.chunk_size)
        self.fits_all = umem.max_frame_len <= self.longest  # whatever was received
        layout = Layout(
            memory_fd=packets.table.fileno(),
            memory_len=umem.size,
            longest=self.longest,
            lines_fd=-1,
            lines=lines,
            slots=slots,
            done_slots=done_slots,
        )
        spec = MapSpec(BpfMapType.ARRAY, 4, layout.octets, 1, uapi.BPF_F_MMAPABLE)
        with ExitStack() as undo:
            self._table = undo.enter_context(Map.create(spec, "dstm_send"))
            self._layout = layout._replace(lines_fd=self._table.fileno())
            program = Program.load(BpfProgType.XDP, assemble(self._layout), "dstm_send")
            undo.enter_context(program)
            self._known = undo.enter_context(KnownProgram(program, DEVICE))
            self.device = self._known.name
            self._run = LiveRun(program, bytes(NEW_LEN))
            # Memory of views is unmapped with the last of them.
            view = memoryview(self._table.memory(layout.octets))
            self._control = view[:CONTROL_LEN].cast("I")
            self._starts = [CONTROL_LEN + number * layout.line_len for number in range(lines)]
            self._refused = [view[at + REFUSED_AT :][:8].cast("Q") for at in self._starts]
            self._undo = undo.pop_all()

    def tx(self, number: int) -> tuple[ProducerRing, ConsumerRing]:
        """Both sides of a line's TX ring; the caller closes them, and never takes while sending."""
        at = self._offsets(number, PRODUCER_AT, CONSUMER_AT, ENTRIES_AT)
        return self._both_sides(at, self._layout.slots, DESC)

    def done(self, number: int) -> tuple[ProducerRing, ConsumerRing]:
        """Both sides of a line's completion ring, likewise."""
        entries_at = self._layout.done_entries_at
        at = self._offsets(number, DONE_PRODUCER_AT, DONE_CONSUMER_AT, entries_at)
        return self._both_sides(at, self._layout.done_slots, np.uint64)

    def send(self, number: int, ifindex: int, count: int) -> None:
        """Send the first `count` packets of a line; raises SystemCallError.

        None of them may be longer than `longest`, and the completion ring must have room for all.
        What the program has taken is gone, sent or lost, in either case.
        """
        self._control[LINE_AT // 4] = self._starts[number]
        self._control[IFINDEX_AT // 4] = ifindex
        self._run.run(count)

    def keep_pool(self) -> None:
        """Have the kernel keep one call's page pool for a second; raises SystemCallError.

        A pool stays in the kernel's tree of pools while a frame of it is on its way, and then until
        the kernel looks again, which it does each second. 64 numbers share an inner node of the
        tree, which is not made and freed in each call as long as one of them stays.
        """
        self._control[LINE_AT // 4] = NO_LINE
        self._control[IFINDEX_AT // 4] = self._known.ifindex
        self._run.run(1)
        self._known.discard()

    def place(self, number: int) -> SendPlace:
        """Where things are for a line, until this is closed."""
        control = int(np.frombuffer(self._control, np.uint32).ctypes.data)
        line_at, ifindex_at = control + LINE_AT, control + IFINDEX_AT
        return SendPlace(self._run.place(), line_at, self._starts[number], ifindex_at)

    def refused(self, number: int) -> int:
        """Packets of a line that were lost because they did not fit a frame."""
        return self._refused[number][0]

    def _offsets(self, number: int, producer: int, consumer: int, entries: int) -> RingOffsets:
        start = self._starts[number]
        return RingOffsets(start + producer, start + consumer, start + entries, start + FLAGS_AT)

    def _both_sides(
        self, at: RingOffsets, slots: int, entry: npt.DTypeLike
    ) -> tuple[ProducerRing, ConsumerRing]:
        memory = [self._table.memory(self._layout.octets) for _ in range(2)]  # each closes its own
        return ProducerRing(memory[0], at, slots, entry), ConsumerRing(memory[1], at, slots, entry)
