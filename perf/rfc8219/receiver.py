"""The receiving half of the tester: an XDP program that counts stamped frames and their delays.

It looks at UDP in IPv4, plain or in IPv6, whose payload begins with a stamp of the running trial,
and drops it. Stamped frames of another trial are dropped too; all else goes on to the kernel.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

import numpy as np

from dstmrouter.io.bpf import Program
from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.owner import Owner
from dstmrouter.io.steering import attach_xdp
from dstmrouter.io.uapi import BpfHelper, BpfProgType, XdpAction, XdpMd
from dstmrouter.wire import ether, ipv4, ipv6
from perf.rfc8219.frames import STAMP, UDP_LEN
from perf.rfc8219.histogram import BUCKETS, SUB_BITS, VALUE_BITS, Delays
from perf.rfc8219.shared import SLOTS, SharedValue, count_slot, offset

RECORDED: Final = 1 << 19  # first frames of a stream whose delays are kept one by one
STATE: Final = np.dtype(
    [
        ("trial", "u8"),
        ("begun", "u8"),  # ns of CLOCK_MONOTONIC
        ("slot_shift", "u8"),
        ("delays_from", "u8"),  # frames sent before this are in no figure of delays
        ("received", "u8"),
        ("strange", "u8"),  # of another trial
        ("reordered", "u8"),  # behind one of a higher number
        ("highest", "u8"),  # number so far
        ("least", "u8"),  # delays in ns
        ("most", "u8"),
        ("total", "u8"),
        ("buckets", "u8", BUCKETS),
        ("slots", "u8", SLOTS),
        ("delays", "u4", RECORDED),
    ]
)
UDP: Final = 17
_STAMP, _SENT, _STATE, _DELAY = Reg.R6, Reg.R7, Reg.R8, Reg.R9
_PROTOCOL_AT: Final = 9
_NEXT_HEADER_AT: Final = ether.HEADER_LEN + 6
_PLAIN: Final = ether.HEADER_LEN + ipv4.HEADER_LEN + UDP_LEN
_TUNNELED: Final = _PLAIN + ipv6.HEADER_LEN


class Receiver(Owner):
    """Counts arrivals on one interface of this thread's namespace."""

    def __init__(self, interface: str) -> None:
        with ExitStack() as undo:
            self._state = undo.enter_context(SharedValue(STATE, "dstm_receiver"))
            code = assemble(self._state.fileno())
            program = undo.enter_context(Program.load(BpfProgType.XDP, code, "dstm_receiver"))
            ifindex = socket.if_nametoindex(interface)
            undo.enter_context(attach_xdp(ifindex, program))
            self._undo = undo.pop_all()

    def prepare(
        self, trial: int, begun_ns: int, slot_shift: int, *, delays_from_ns: int = 0
    ) -> None:
        """Forget everything, and count this trial from now on, its delays from a time on."""
        view = self._state.view
        view.view(np.uint8)[:] = 0
        view["least"] = (1 << 64) - 1
        view["begun"], view["slot_shift"], view["trial"] = begun_ns, slot_shift, trial
        view["delays_from"] = delays_from_ns

    def __getitem__(self, field: str) -> int:
        return int(self._state.view[field][0])

    def slots(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
        """Frames in each slot of time, by when they were sent."""
        counts: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
        counts = self._state.view["slots"][0].copy()
        return counts

    def delays(self) -> Delays:
        """One-way delays so far; those by sequence are of all frames."""
        view = self._state.view
        return Delays(
            counts=view["buckets"][0].copy(),
            least=self["least"] if self["received"] else 0,
            most=self["most"],
            total=self["total"],
            by_sequence=view["delays"][0].copy(),
        )


# The program --------------------------------------------------------------------------------------


def assemble(state_fd: int) -> bytes:
    """The program that counts into the value of the array open as `state_fd`."""
    asm = Assembler()
    _find_stamp(asm)
    asm.load_map_value(_STATE, state_fd)
    asm.load(Size.U16, Reg.R1, _STAMP, offset(STAMP, "trial"))
    asm.load(Size.U64, Reg.R2, _STATE, offset(STATE, "trial"))
    asm.jump_if(Reg.R1, Cond.EQ, Reg.R2, "ours")
    _increase(asm, "strange")
    asm.jump("drop")
    asm.label("ours")
    _increase(asm, "received")
    asm.call(BpfHelper.KTIME_GET_NS)
    asm.mov(_DELAY, Reg.R0)
    asm.load(Size.U64, _SENT, _STAMP, offset(STAMP, "sent_ns"))
    asm.alu(Alu.SUB, _DELAY, _SENT)
    count_slot(asm, (_STATE, STATE), offset(STATE, "slots"), _SENT)
    _count_delay(asm)
    _look_at_order(asm)
    asm.label("drop")
    asm.mov(Reg.R0, XdpAction.DROP)
    asm.exit()
    asm.label("pass")
    asm.mov(Reg.R0, XdpAction.PASS)
    asm.exit()
    return asm.assemble()


def _find_stamp(asm: Assembler) -> None:
    """_STAMP is its place in the frame; a frame that has none passes."""
    asm.load(Size.U32, _STAMP, Reg.R1, XdpMd.DATA)
    asm.load(Size.U32, Reg.R2, Reg.R1, XdpMd.DATA_END)
    asm.mov(Reg.R3, _STAMP)
    asm.alu(Alu.ADD, Reg.R3, _PLAIN + STAMP.itemsize)
    asm.jump_if(Reg.R3, Cond.GT, Reg.R2, "pass")
    asm.load(Size.U16, Reg.R1, _STAMP, ether.HEADER_LEN - 2)
    asm.to_big_endian(Reg.R1, 16)
    asm.jump_if(Reg.R1, Cond.EQ, ether.ETHERTYPE_IPV4, "ipv4")
    asm.jump_if(Reg.R1, Cond.NE, ether.ETHERTYPE_IPV6, "pass")
    asm.load(Size.U8, Reg.R1, _STAMP, _NEXT_HEADER_AT)
    asm.jump_if(Reg.R1, Cond.NE, ipv6.NEXT_IPV4, "pass")
    asm.alu(Alu.ADD, _STAMP, ipv6.HEADER_LEN)
    asm.mov(Reg.R3, _STAMP)
    asm.alu(Alu.ADD, Reg.R3, _PLAIN + STAMP.itemsize)
    asm.jump_if(Reg.R3, Cond.GT, Reg.R2, "pass")
    asm.label("ipv4")
    asm.load(Size.U8, Reg.R1, _STAMP, ether.HEADER_LEN + _PROTOCOL_AT)
    asm.jump_if(Reg.R1, Cond.NE, UDP, "pass")
    asm.alu(Alu.ADD, _STAMP, _PLAIN)


def _increase(asm: Assembler, field: str) -> None:
    asm.mov(Reg.R1, 1)
    asm.atomic_add(_STATE, offset(STATE, field), Reg.R1)


def _count_delay(asm: Assembler) -> None:
    """Take _DELAY into sum, extremes and histogram, unless _SENT is too early.

    It is at most the largest afterwards.
    """
    asm.mov(Reg.R1, 1)
    asm.alu(Alu.LSH, Reg.R1, VALUE_BITS)
    asm.alu(Alu.SUB, Reg.R1, 1)
    asm.jump_if(_DELAY, Cond.LE, Reg.R1, "countable")
    asm.mov(_DELAY, Reg.R1)
    asm.label("countable")
    asm.load(Size.U64, Reg.R1, _STATE, offset(STATE, "delays_from"))
    asm.jump_if(_SENT, Cond.LT, Reg.R1, "counted")
    asm.atomic_add(_STATE, offset(STATE, "total"), _DELAY)
    for field, condition in (("least", Cond.GE), ("most", Cond.LE)):
        asm.load(Size.U64, Reg.R1, _STATE, offset(STATE, field))
        asm.jump_if(_DELAY, condition, Reg.R1, f"not {field}")
        asm.store(Size.U64, _STATE, offset(STATE, field), _DELAY)
        asm.label(f"not {field}")
    _find_bucket(asm)
    asm.jump_if(Reg.R1, Cond.GE, BUCKETS, "drop")  # never: the verifier does not know
    asm.alu(Alu.LSH, Reg.R1, 3)
    asm.alu(Alu.ADD, Reg.R1, _STATE)
    asm.mov(Reg.R2, 1)
    asm.atomic_add(Reg.R1, offset(STATE, "buckets"), Reg.R2)
    asm.label("counted")


def _find_bucket(asm: Assembler) -> None:
    """R1 = index of the bucket of _DELAY, as in `histogram`: the number of bits is halved."""
    asm.mov(Reg.R1, _DELAY)
    asm.mov(Reg.R2, 0)
    for bits in (16, 8, 4, 2, 1):
        asm.mov(Reg.R3, 1)
        asm.alu(Alu.LSH, Reg.R3, SUB_BITS + bits)
        asm.jump_if(Reg.R1, Cond.LT, Reg.R3, f"below {bits}")
        asm.alu(Alu.RSH, Reg.R1, bits)
        asm.alu(Alu.ADD, Reg.R2, bits)
        asm.label(f"below {bits}")
    asm.alu(Alu.LSH, Reg.R2, SUB_BITS)
    asm.alu(Alu.ADD, Reg.R1, Reg.R2)


def _look_at_order(asm: Assembler) -> None:
    """Keep the delay of a first frame; count those that come behind a later one."""
    asm.load(Size.U64, Reg.R1, _STAMP, offset(STAMP, "sequence"))
    asm.load(Size.U64, Reg.R2, _STATE, offset(STATE, "highest"))
    asm.jump_if(Reg.R1, Cond.GE, Reg.R2, "in order")
    asm.mov(Reg.R2, 1)
    asm.atomic_add(_STATE, offset(STATE, "reordered"), Reg.R2)
    asm.jump("order known")
    asm.label("in order")
    asm.store(Size.U64, _STATE, offset(STATE, "highest"), Reg.R1)
    asm.label("order known")
    asm.jump_if(Reg.R1, Cond.GE, RECORDED, "drop")
    asm.alu(Alu.LSH, Reg.R1, 2)
    asm.alu(Alu.ADD, Reg.R1, _STATE)
    asm.alu(Alu.ADD, Reg.R1, offset(STATE, "delays"))
    asm.store(Size.U32, Reg.R1, 0, _DELAY)
