"""The instructions that make an XDP frame of each packet on a ring, and send it.

The program is run once for every packet. It takes one descriptor from the ring that the control
record names, copies the packet from the packet memory into the kernel's frame, and redirects that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.uapi import BpfHelper, XdpAction, XdpMd
from dstmrouter.io.umem import DESC

CONTROL: Final = np.dtype(
    [
        ("ring", "<u4"),  # which ring's turn it is: octets from the start of the value
        ("ifindex", "<u4"),  # where its packets go
    ]
)
CONTROL_LEN: Final = 64  # octets before the first ring
# A ring, octets from its start; the two indices are written by two sides.
PRODUCER_AT, CONSUMER_AT, FLAGS_AT, ENTRIES_AT = 0, 64, 128, 192
REFUSED_AT: Final = 72  # 64 bits: packets that did not fit a frame

NEW_LEN: Final = 256  # octets of a frame before its tail is moved
SHORT_LEN: Final = 128  # at most: copied by 16 loads and stores, which take 5 ns
_LEAST_LEN: Final = 14  # an Ethernet header
_MODULO_BITS: Final = 32
_CONTEXT, _RING, _AT, _IFINDEX = Reg.R6, Reg.R7, Reg.R8, Reg.R9
_LENGTH: Final = _RING  # once the descriptor is read
_WORD: Final = 8


class Layout(NamedTuple):
    """Two arrays of one element each and how they are laid out; lengths in octets."""

    memory_fd: int
    memory_len: int  # packets start before this; as much as `longest` lies behind it
    longest: int  # packet
    rings_fd: int
    ring_len: int
    rings: int
    slots: int  # of each ring, a power of two


def assemble(layout: Layout) -> bytes:
    """The program for one worker's packet memory and rings."""
    asm = Assembler()
    asm.mov(_CONTEXT, Reg.R1)
    _take_descriptor(asm, layout)
    asm.jump_if(_AT, Cond.GT, layout.memory_len, "refuse")
    asm.jump_if(_LENGTH, Cond.GT, layout.longest, "refuse")
    asm.jump_if(_LENGTH, Cond.LT, _LEAST_LEN, "refuse")
    asm.jump_if(_LENGTH, Cond.GT, SHORT_LEN, "long")
    _copy_short(asm, layout.memory_fd)
    _move_tail(asm)
    asm.jump("redirect")
    asm.label("long")
    _move_tail(asm)
    _copy_long(asm, layout.memory_fd)
    asm.label("redirect")
    asm.mov(Reg.R1, _IFINDEX)
    asm.mov(Reg.R2, 0)
    asm.call(BpfHelper.REDIRECT)
    asm.exit()
    asm.label("refuse")
    _find_ring(asm, layout)
    asm.load(Size.U64, Reg.R1, _RING, REFUSED_AT)
    asm.alu(Alu.ADD, Reg.R1, 1)
    asm.store(Size.U64, _RING, REFUSED_AT, Reg.R1)
    asm.label("drop")
    asm.mov(Reg.R0, XdpAction.DROP)
    asm.exit()
    return asm.assemble()


def _take_descriptor(asm: Assembler, layout: Layout) -> None:
    """Put the oldest packet's place into _AT and _LENGTH, and where it goes into _IFINDEX."""
    _find_ring(asm, layout)
    asm.load(Size.U32, _AT, _RING, CONSUMER_AT)
    asm.load(Size.U32, Reg.R1, _RING, PRODUCER_AT)
    asm.jump_if(_AT, Cond.EQ, Reg.R1, "drop")
    asm.mov(Reg.R1, _AT)
    asm.alu(Alu.ADD, Reg.R1, 1)
    asm.store(Size.U32, _RING, CONSUMER_AT, Reg.R1)  # modulo 2^32
    asm.alu(Alu.AND, _AT, layout.slots - 1)
    asm.alu(Alu.LSH, _AT, DESC.itemsize.bit_length() - 1)
    asm.alu(Alu.ADD, _RING, _AT)
    asm.load(Size.U64, _AT, _RING, ENTRIES_AT + _field("addr"))
    asm.load(Size.U32, _LENGTH, _RING, ENTRIES_AT + _field("len"))


def _find_ring(asm: Assembler, layout: Layout) -> None:
    """Point _RING at the ring whose turn it is; R1 is lost."""
    last_ring = CONTROL_LEN + (layout.rings - 1) * layout.ring_len
    asm.load_map_value(_RING, layout.rings_fd)
    asm.load(Size.U32, _IFINDEX, _RING, _control("ifindex"))
    asm.load(Size.U32, Reg.R1, _RING, _control("ring"))
    asm.jump_if(Reg.R1, Cond.GT, last_ring, "drop")
    asm.alu(Alu.ADD, _RING, Reg.R1)


def _copy_short(asm: Assembler, memory_fd: int) -> None:
    """Copy SHORT_LEN octets, whatever the packet has of them."""
    data, end, source = Reg.R2, Reg.R1, Reg.R3
    asm.load(Size.U32, data, _CONTEXT, XdpMd.DATA)
    asm.load(Size.U32, end, _CONTEXT, XdpMd.DATA_END)
    asm.mov(Reg.R4, data)
    asm.alu(Alu.ADD, Reg.R4, SHORT_LEN)
    asm.jump_if(Reg.R4, Cond.GT, end, "refuse")
    asm.load_map_value(source, memory_fd)
    asm.alu(Alu.ADD, source, _AT)
    for at in range(0, SHORT_LEN, _WORD):
        asm.load(Size.U64, Reg.R4, source, at)
        asm.store(Size.U64, data, at, Reg.R4)


def _copy_long(asm: Assembler, memory_fd: int) -> None:
    """Copy all of the packet into a frame of its length."""
    asm.load_map_value(Reg.R3, memory_fd)
    asm.alu(Alu.ADD, Reg.R3, _AT)
    asm.mov(Reg.R1, _CONTEXT)
    asm.mov(Reg.R2, 0)
    asm.mov(Reg.R4, _LENGTH)
    asm.call(BpfHelper.XDP_STORE_BYTES)
    asm.jump_if(Reg.R0, Cond.NE, 0, "refuse")


def _move_tail(asm: Assembler) -> None:
    """Make the frame as long as the packet."""
    asm.mov(Reg.R1, _CONTEXT)
    asm.mov(Reg.R2, _LENGTH)
    asm.alu(Alu.SUB, Reg.R2, NEW_LEN)
    asm.call(BpfHelper.XDP_ADJUST_TAIL)
    asm.jump_if(Reg.R0, Cond.NE, 0, "refuse")


def _control(name: str) -> int:
    return int(CONTROL.fields[name][1])  # type: ignore[index]  # a structure has fields


def _field(name: str) -> int:
    return int(DESC.fields[name][1])  # type: ignore[index]  # likewise
