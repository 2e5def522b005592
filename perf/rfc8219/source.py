"""The sending half of the tester: live frames inside the kernel, paced, stamped, of many bindings.

The same means as `perf.generator` (which says how it works), with what methods of RFC 2544 need:
frames of several sizes and both directions in turn, a stamp in each, a rate that changes while
frames are sent, and counts of frames over time. All headers are written anew for every frame,
because a kernel that forwards leaves its own in pages that come back.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.bpf import Program
from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.liveframes import LiveRun
from dstmrouter.io.owner import Owner
from dstmrouter.io.uapi import BpfHelper, BpfProgType, XdpAction, XdpMd
from perf.generator import interrupted_after
from perf.rfc8219.frames import STAMP
from perf.rfc8219.shared import SLOTS, SharedValue, count_slot, offset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.rfc8219.frames import Template

VARIANTS_MAX: Final = 1 << 20  # bindings of one stream
CALLS_MAX: Final = 0x7FFF_FFFF  # frames of one system call, sent or not
AGAIN_S: Final = 0.05  # between signals, should the first one come between two calls
LATE_NS: Final = 100_000  # what was not sent so long after it was due is never sent
BATCH: Final = 8  # frames wait for so many: 0.7 us in the median, 3.6 with the kernel's 64
NEVER: Final = (1 << 63) - 1
STREAMS: Final = 2
STATE: Final = np.dtype(
    [
        ("next_due", "u8"),  # all times in ns of CLOCK_MONOTONIC
        ("gap", "u8"),  # between two frames of the schedule
        ("switch_at", "u8"),  # from then on ...
        ("gap_after", "u8"),  # ... this gap
        ("first", "u8"),
        ("last", "u8"),
        ("position", "u8"),  # in the schedule
        ("trial", "u8"),
        ("begun", "u8"),
        ("slot_shift", "u8"),
        ("sent", "u8", STREAMS),
        ("slots", "u8", (STREAMS, SLOTS)),
    ]
)
_RANDOM, _DATA, _STATE, _NOW = Reg.R6, Reg.R7, Reg.R8, Reg.R9
_CONTEXT: Final = -8  # octets from the frame pointer


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One frame of a schedule: what, of which stream (0 or 1), out of which interface."""

    template: Template
    stream: int
    ifindex: int


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """Frames/s of the whole schedule, None for as many as the kernel can; or two in turn."""

    rate: float | None = None
    then: float | None = None  # if given, from `after_s` on
    after_s: float = 0.0

    def gaps(self) -> tuple[int, int]:
        """Nanoseconds between two frames, at first and then."""
        first = 0 if self.rate is None else round(1e9 / self.rate)
        return first, first if self.then is None else round(1e9 / self.then)


class Source(Owner):
    """Sends a schedule of frames again and again, from the main thread, in its own namespace."""

    def __init__(self, schedule: Sequence[Step], variants: int) -> None:
        """`variants` is a power of two: as many addresses in a row from the template's on."""
        assert variants <= VARIANTS_MAX, f"{variants} variants"
        assert variants & (variants - 1) == 0, f"{variants} is no power of two"
        frame = max((step.template.octets for step in schedule), key=len)
        with ExitStack() as undo:
            self._state = undo.enter_context(SharedValue(STATE, "dstm_source"))
            code = assemble(schedule, variants - 1, self._state.fileno())
            program = Program.load(BpfProgType.XDP, code, "dstm_source")
            self._live = LiveRun(undo.enter_context(program), frame, batch=BATCH)
            self._undo = undo.pop_all()

    def prepare(self, trial: int, pace: Pace, begun_ns: int, slot_shift: int) -> None:
        """Set everything for a trial: its number, rates, and how time is cut into slots."""
        view = self._state.view
        view[:] = np.zeros(1, STATE)
        gap, gap_after = pace.gaps()
        view["gap"], view["gap_after"], view["trial"] = gap, gap_after, trial
        view["switch_at"] = NEVER if pace.then is None else begun_ns + round(pace.after_s * 1e9)
        view["begun"], view["slot_shift"] = begun_ns, slot_shift

    def send(self, seconds: float) -> None:
        """Send for some time."""
        with interrupted_after(seconds, AGAIN_S):
            while True:  # a call ends after 2**31 frames, due or not: a minute and a half
                self._live.run(CALLS_MAX)

    def send_some(self, count: int) -> None:
        """Send so many frames as fast as the kernel can."""
        self._live.run(count)

    def sent(self) -> list[int]:
        """Frames of each stream."""
        return [int(n) for n in self._state.view["sent"][0]]

    def seconds(self) -> float:
        """From the first frame to the last."""
        first, last = (int(self._state.view[name][0]) for name in ("first", "last"))
        return (last - first) / 1e9

    def slots(self, stream: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
        """Frames of a stream in each slot of time."""
        counts: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
        counts = self._state.view["slots"][0, stream].copy()
        return counts


# The program --------------------------------------------------------------------------------------


def assemble(schedule: Sequence[Step], mask: int, state_fd: int) -> bytes:
    """The program: keep the pace, take the next frame of the schedule, write it, send it."""
    asm = Assembler()
    octets_max = max(len(step.template.octets) for step in schedule)
    asm.store(Size.U64, Reg.R10, _CONTEXT, Reg.R1)
    asm.load(Size.U32, _DATA, Reg.R1, XdpMd.DATA)
    asm.load(Size.U32, Reg.R2, Reg.R1, XdpMd.DATA_END)
    asm.mov(Reg.R3, _DATA)
    asm.alu(Alu.ADD, Reg.R3, octets_max)
    asm.jump_if(Reg.R3, Cond.GT, Reg.R2, "drop")
    asm.load_map_value(_STATE, state_fd)
    _keep_pace(asm)
    kinds = list(dict.fromkeys(schedule))
    _take_turns(asm, [kinds.index(step) for step in schedule])
    for number, step in enumerate(kinds):
        asm.label(f"frame {number}")
        _send(asm, step, mask, octets_max)
    asm.label("drop")
    asm.mov(Reg.R0, XdpAction.DROP)
    asm.exit()
    return asm.assemble()


def _load(asm: Assembler, register: Reg, field: str) -> None:
    asm.load(Size.U64, register, _STATE, offset(STATE, field))


def _store(asm: Assembler, field: str, register: Reg) -> None:
    asm.store(Size.U64, _STATE, offset(STATE, field), register)


def _keep_pace(asm: Assembler) -> None:
    """Drop the frame if it is not due; else _NOW is the time it is sent at."""
    asm.call(BpfHelper.KTIME_GET_NS)
    asm.mov(_NOW, Reg.R0)
    _load(asm, Reg.R1, "next_due")
    asm.jump_if(Reg.R1, Cond.GT, _NOW, "drop")
    asm.jump_if(Reg.R1, Cond.NE, 0, "begun")
    asm.mov(Reg.R1, _NOW)
    _store(asm, "first", _NOW)
    asm.label("begun")
    asm.mov(Reg.R2, _NOW)
    asm.alu(Alu.SUB, Reg.R2, LATE_NS)
    asm.jump_if(Reg.R1, Cond.GE, Reg.R2, "in_time")
    asm.mov(Reg.R1, Reg.R2)
    asm.label("in_time")
    _store(asm, "last", _NOW)
    _load(asm, Reg.R2, "gap")
    _load(asm, Reg.R3, "switch_at")
    asm.jump_if(Reg.R3, Cond.GT, _NOW, "not_switched")
    _load(asm, Reg.R2, "gap_after")
    asm.label("not_switched")
    asm.alu(Alu.ADD, Reg.R1, Reg.R2)
    _store(asm, "next_due", Reg.R1)


def _take_turns(asm: Assembler, kinds: Sequence[int]) -> None:
    """Go to the frame at this position of the schedule, and advance the position."""
    if len(kinds) == 1:
        return
    _load(asm, Reg.R1, "position")
    asm.mov(Reg.R2, Reg.R1)
    asm.alu(Alu.ADD, Reg.R2, 1)
    asm.jump_if(Reg.R2, Cond.LT, len(kinds), "inside")
    asm.mov(Reg.R2, 0)
    asm.label("inside")
    _store(asm, "position", Reg.R2)
    for position, kind in enumerate(kinds):
        asm.jump_if(Reg.R1, Cond.EQ, position, f"frame {kind}")
    asm.jump("drop")


def _send(asm: Assembler, step: Step, mask: int, octets_max: int) -> None:
    """Write the frame at _DATA, make it as long as it is, redirect it."""
    template = step.template
    for at in range(0, template.header_len, 4):
        word = template.octets[at : min(at + 4, template.header_len)]
        size = Size.U32 if len(word) == 4 else Size.U16
        asm.store(size, _DATA, at, int.from_bytes(word, "little", signed=True))
    _stamp(asm, step)
    asm.call(BpfHelper.GET_PRANDOM_U32)
    asm.mov(_RANDOM, Reg.R0)
    asm.store(Size.U16, _DATA, template.host_port, _RANDOM)
    asm.call(BpfHelper.GET_PRANDOM_U32)
    asm.mov(_RANDOM, Reg.R0)
    asm.alu(Alu.AND, _RANDOM, mask)
    for at in template.addresses:
        base = int.from_bytes(template.octets[at : at + 4], "big")
        assert base & mask == 0, f"the template's address {base:#x} is not 0 below the mask"
        asm.mov(Reg.R1, _RANDOM)
        asm.alu(Alu.ADD, Reg.R1, base)
        asm.to_big_endian(Reg.R1, 32)
        asm.store(Size.U32, _DATA, at, Reg.R1)
    _correct_checksum(asm, template)
    if len(template.octets) != octets_max:
        asm.load(Size.U64, Reg.R1, Reg.R10, _CONTEXT)
        asm.mov(Reg.R2, len(template.octets) - octets_max)
        asm.call(BpfHelper.XDP_ADJUST_TAIL)
    asm.mov(Reg.R1, step.ifindex)
    asm.mov(Reg.R2, 0)
    asm.call(BpfHelper.REDIRECT)
    asm.exit()


def _stamp(asm: Assembler, step: Step) -> None:
    """Write time, number and trial behind the headers; count the frame."""
    at = step.template.header_len
    sent = offset(STATE, "sent") + 8 * step.stream
    asm.store(Size.U64, _DATA, at + offset(STAMP, "sent_ns"), _NOW)
    asm.load(Size.U64, Reg.R1, _STATE, sent)
    asm.store(Size.U64, _DATA, at + offset(STAMP, "sequence"), Reg.R1)
    asm.alu(Alu.ADD, Reg.R1, 1)
    asm.store(Size.U64, _STATE, sent, Reg.R1)
    _load(asm, Reg.R1, "trial")
    asm.store(Size.U16, _DATA, at + offset(STAMP, "trial"), Reg.R1)
    slots = offset(STATE, "slots") + 8 * SLOTS * step.stream
    count_slot(asm, (_STATE, STATE), slots, _NOW)


def _correct_checksum(asm: Assembler, template: Template) -> None:
    """Store the template's checksum, less what was added to the address (RFC 1624)."""
    at = template.checksum
    asm.mov(Reg.R1, int.from_bytes(template.octets[at : at + 2], "big") + 2 * 0xFFFF)
    for shift in (16, 0):
        asm.mov(Reg.R2, _RANDOM)
        asm.alu(Alu.RSH, Reg.R2, shift)
        asm.alu(Alu.AND, Reg.R2, 0xFFFF)
        asm.alu(Alu.SUB, Reg.R1, Reg.R2)
    for _ in range(2):  # the sum is below 3 * 0xFFFF: the second time takes in the carry
        asm.mov(Reg.R2, Reg.R1)
        asm.alu(Alu.RSH, Reg.R2, 16)
        asm.alu(Alu.AND, Reg.R1, 0xFFFF)
        asm.alu(Alu.ADD, Reg.R1, Reg.R2)
    asm.to_big_endian(Reg.R1, 16)
    asm.store(Size.U16, _DATA, at, Reg.R1)
