"""A small assembler for eBPF: instructions by name, jumps to labels.

It covers what the steering program and the traffic generators need, not the instruction set
(RFC 9669). Operations follow the RFC's mnemonics; registers R1-R5 are arguments and lost in calls,
R6-R9 survive them, R10 is the frame pointer.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import numpy as np

INSTRUCTION: Final = np.dtype(
    [
        ("opcode", "u1"),
        ("registers", "u1"),  # destination in the low four bits, source in the high four
        ("offset", "<i2"),
        ("imm", "<i4"),
    ]
)
MAX_JUMP: Final = 0x7FFF  # instructions, forward; the verifier of old kernels wants no loops
BPF_PSEUDO_MAP_FD: Final = 1  # source register of a 64-bit load whose value is a map's fd
BPF_PSEUDO_MAP_VALUE: Final = 2  # likewise: the address of the only value of an array

Instruction = tuple[int, int, int, int]


class Reg(enum.IntEnum):
    """The registers."""

    R0 = 0  # result
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10  # frame pointer, the stack is below it


class Size(enum.IntEnum):
    """Width of a memory access (RFC 9669 section 5)."""

    U32 = 0x00
    U16 = 0x08
    U8 = 0x10
    U64 = 0x18


class Alu(enum.IntEnum):
    """64-bit arithmetic (RFC 9669 section 4.1)."""

    ADD = 0x00
    SUB = 0x10
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    XOR = 0xA0
    MOV = 0xB0


class Cond(enum.IntEnum):
    """Conditions of a jump, unsigned, 64 bits (RFC 9669 section 4.3)."""

    EQ = 0x10
    GT = 0x20
    GE = 0x30
    ANY_BIT = 0x40
    NE = 0x50
    LT = 0xA0
    LE = 0xB0


_LD, _LDX, _ST, _STX, _JMP, _ALU64 = 0x00, 0x01, 0x02, 0x03, 0x05, 0x07
_SRC_REGISTER: Final = 0x08
_MODE_MEM: Final = 0x60
_MODE_ATOMIC: Final = 0xC0
_END_TO_BIG: Final = 0xDC  # ALU, END, to big endian
_JUMP_ALWAYS, _CALL, _EXIT = 0x00, 0x80, 0x90


class _Jump(NamedTuple):
    at: int
    label: str


class Assembler:
    """Collects instructions; `assemble` resolves the labels."""

    def __init__(self) -> None:
        self._code: list[Instruction] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[_Jump] = []

    @property
    def position(self) -> int:
        """Number of the next instruction."""
        return len(self._code)

    def label(self, name: str) -> None:
        """Name the next instruction."""
        assert name not in self._labels, f"label {name} set twice"
        self._labels[name] = len(self._code)

    def load(self, size: Size, dst: Reg, base: Reg, offset: int) -> None:
        """Load `dst` from memory at `base` + `offset` octets, zero-extended."""
        self._emit(_LDX | size | _MODE_MEM, dst, base, offset)

    def store(self, size: Size, base: Reg, offset: int, src: Reg | int) -> None:
        """Store a register or a constant at `base` + `offset` octets."""
        if isinstance(src, Reg):
            self._emit(_STX | size | _MODE_MEM, base, src, offset)
        else:
            self._emit(_ST | size | _MODE_MEM, base, 0, offset, src)

    def atomic_add(self, base: Reg, offset: int, src: Reg) -> None:
        """Add a register to the 64 bits at `base` + `offset` octets (RFC 9669 section 5.3)."""
        self._emit(_STX | Size.U64 | _MODE_ATOMIC, base, src, offset, Alu.ADD)

    def load_map_value(self, dst: Reg, map_fd: int) -> None:
        """Load the address of the value of an array with one element, open as `map_fd`."""
        self._emit(_LD | Size.U64, dst, BPF_PSEUDO_MAP_VALUE, 0, map_fd)
        self._emit(0, 0)  # octets from the start of the value

    def load_map(self, dst: Reg, map_fd: int) -> None:
        """Load a reference to the map open as `map_fd`."""
        self._emit(_LD | Size.U64, dst, BPF_PSEUDO_MAP_FD, 0, map_fd)
        self._emit(0, 0)  # the upper half of the 64-bit constant

    def alu(self, operation: Alu, dst: Reg, src: Reg | int) -> None:
        """Compute `dst` = `dst` operation `src`; constants are signed 32 bits, sign-extended."""
        self._emit_with_source(_ALU64 | operation, dst, src, 0)

    def mov(self, dst: Reg, src: Reg | int) -> None:
        """Copy a register or a constant into `dst`."""
        self.alu(Alu.MOV, dst, src)

    def to_big_endian(self, dst: Reg, bits: int) -> None:
        """Swap the low `bits` of `dst` between network and host order; clears the rest."""
        assert bits in {16, 32, 64}, f"no conversion of {bits} bits"
        self._emit(_END_TO_BIG, dst, 0, 0, bits)

    def jump(self, label: str) -> None:
        """Go on at `label`."""
        self._jumps.append(_Jump(len(self._code), label))
        self._emit(_JMP | _JUMP_ALWAYS, 0)

    def jump_if(self, dst: Reg, condition: Cond, src: Reg | int, label: str) -> None:
        """Go on at `label` if the condition of `dst` against `src` holds."""
        self._jumps.append(_Jump(len(self._code), label))
        self._emit_with_source(_JMP | condition, dst, src, 0)

    def call(self, helper: int) -> None:
        """Call a helper function of the kernel; the result is in R0."""
        self._emit(_JMP | _CALL, 0, 0, 0, helper)

    def exit(self) -> None:
        """Return R0."""
        self._emit(_JMP | _EXIT, 0)

    def assemble(self) -> bytes:
        """The program, 8 octets per instruction; jumps go forward only."""
        code = np.array(self._code, INSTRUCTION)
        for jump in self._jumps:
            assert jump.label in self._labels, f"no label {jump.label}"
            distance = self._labels[jump.label] - jump.at - 1
            assert 0 <= distance <= MAX_JUMP, f"jump to {jump.label} over {distance} instructions"
            code["offset"][jump.at] = distance
        return code.tobytes()

    def _emit_with_source(self, opcode: int, dst: Reg, src: Reg | int, offset: int) -> None:
        if isinstance(src, Reg):
            self._emit(opcode | _SRC_REGISTER, dst, src, offset)
        else:
            self._emit(opcode, dst, 0, offset, src)

    def _emit(self, opcode: int, dst: int, src: int = 0, offset: int = 0, imm: int = 0) -> None:
        self._code.append((opcode, dst | src << 4, offset, imm))
