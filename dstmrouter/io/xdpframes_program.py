"""The instructions that make an XDP frame of each packet on a ring, and send it.

The program is run once for every packet. It is for the rings of `FrameSender` what the kernel is
for those of an AF_XDP socket: it takes one descriptor from the TX ring that the control record
names, copies the packet from the packet memory into a frame, redirects that, and puts the packet's
address on the completion ring.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.uapi import BpfHelper, XdpAction, XdpMd
from dstmrouter.io.umem import DESC

# The control record: which line's turn it is, and where its packets go; 32 bits each.
LINE_AT, IFINDEX_AT, CONTROL_LEN = 0, 4, 64
NO_LINE: Final = 0xFFFFFFFF  # in its place: new frames go there as they are
# A line is a TX ring and a completion ring: octets from its start to the indices, which are written
# by two sides, to what stands for the flags of a ring, and to the entries of the TX ring.
PRODUCER_AT, CONSUMER_AT, FLAGS_AT = 0, 64, 128
DONE_PRODUCER_AT, DONE_CONSUMER_AT = 192, 256
REFUSED_AT: Final = 72  # 64 bits: packets that did not fit a frame
ENTRIES_AT: Final = 320

NEW_LEN: Final = 256  # octets of a frame before its tail is moved
SHORT_LEN: Final = 128  # at most: copied by 16 loads and stores, which take 5 ns
_LEAST_LEN: Final = 14  # an Ethernet header
_CONTEXT, _LINE, _AT, _LENGTH = Reg.R6, Reg.R7, Reg.R8, Reg.R9
_WORD: Final = 8


class Layout(NamedTuple):
    """Two arrays of one element each and how they are laid out; lengths in octets."""

    memory_fd: int
    memory_len: int  # packets start before this; as much as `longest` lies behind it
    longest: int  # packet
    lines_fd: int
    lines: int
    slots: int  # of each TX ring, a power of two
    done_slots: int  # of each completion ring, likewise

    @property
    def done_entries_at(self) -> int:
        """Octets from the start of a line to the entries of its completion ring."""
        return ENTRIES_AT + self.slots * DESC.itemsize

    @property
    def line_len(self) -> int:
        """Octets from one line to the next, which share no cache line."""
        return -(-(self.done_entries_at + self.done_slots * _WORD) // 64) * 64

    @property
    def octets(self) -> int:
        """Control record and lines."""
        return CONTROL_LEN + self.lines * self.line_len


def assemble(layout: Layout) -> bytes:
    """The program for one worker's packet memory and lines."""
    asm = Assembler()
    asm.mov(_CONTEXT, Reg.R1)
    _take_descriptor(asm, layout)
    _complete(asm, layout)
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
    asm.load_map_value(Reg.R1, layout.lines_fd)
    asm.load(Size.U32, Reg.R1, Reg.R1, IFINDEX_AT)
    asm.mov(Reg.R2, 0)
    asm.call(BpfHelper.REDIRECT)
    asm.exit()
    asm.label("refuse")
    asm.load(Size.U64, Reg.R1, _LINE, REFUSED_AT)
    asm.alu(Alu.ADD, Reg.R1, 1)
    asm.store(Size.U64, _LINE, REFUSED_AT, Reg.R1)
    asm.label("drop")
    asm.mov(Reg.R0, XdpAction.DROP)
    asm.exit()
    return asm.assemble()


def _take_descriptor(asm: Assembler, layout: Layout) -> None:
    """Point _LINE at the line whose turn it is; put its oldest packet's place into _AT, _LENGTH."""
    asm.load_map_value(_LINE, layout.lines_fd)
    asm.load(Size.U32, Reg.R1, _LINE, LINE_AT)
    asm.jump_if(Reg.R1, Cond.GT, layout.octets - layout.line_len, "redirect")
    asm.alu(Alu.ADD, _LINE, Reg.R1)
    asm.load(Size.U32, Reg.R2, _LINE, CONSUMER_AT)
    asm.load(Size.U32, Reg.R1, _LINE, PRODUCER_AT)
    asm.jump_if(Reg.R2, Cond.EQ, Reg.R1, "drop")
    _find_entry(asm, Reg.R2, layout.slots, DESC.itemsize)
    asm.load(Size.U64, _AT, Reg.R3, ENTRIES_AT + _field("addr"))
    asm.load(Size.U32, _LENGTH, Reg.R3, ENTRIES_AT + _field("len"))
    _advance(asm, Reg.R2, CONSUMER_AT)


def _complete(asm: Assembler, layout: Layout) -> None:
    """Give the packet's memory back: it is copied before its owner can look at the ring."""
    asm.load(Size.U32, Reg.R2, _LINE, DONE_PRODUCER_AT)
    _find_entry(asm, Reg.R2, layout.done_slots, _WORD)
    asm.alu(Alu.ADD, Reg.R3, layout.done_entries_at)  # too far for an offset of 16 bits
    asm.store(Size.U64, Reg.R3, 0, _AT)
    _advance(asm, Reg.R2, DONE_PRODUCER_AT)


def _find_entry(asm: Assembler, index: Reg, slots: int, size: int) -> None:
    """Point R3 so many octets behind _LINE as the entry of `index` is behind the first one."""
    asm.mov(Reg.R3, index)
    asm.alu(Alu.AND, Reg.R3, slots - 1)
    asm.alu(Alu.LSH, Reg.R3, size.bit_length() - 1)
    asm.alu(Alu.ADD, Reg.R3, _LINE)


def _advance(asm: Assembler, index: Reg, at: int) -> None:
    """Store the index that follows `index`, modulo 2^32."""
    asm.alu(Alu.ADD, index, 1)
    asm.store(Size.U32, _LINE, at, index)


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


def _field(name: str) -> int:
    return int(DESC.fields[name][1])  # type: ignore[index]  # a structure has fields
