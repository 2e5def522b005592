"""Classic BPF over bursts: packet filters as libpcap compiles them, on all frames in lock step.

McCanne and Jacobson, "The BSD Packet Filter" (1993), whose machine has an accumulator A, an index
register X and sixteen words of scratch memory. Here each of them is a column. Jumps only go
forward, so the program is walked once from the first to the last instruction. Frames stay one group
until a jump parts them, and groups that meet again go on as one.

A load that reaches behind the end of a frame, and a division by zero, reject the frame.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.pipeline.memory import FrameMemory, Index

INSTRUCTION: Final = np.dtype([("code", "<u2"), ("jt", "u1"), ("jf", "u1"), ("k", "<u4")])
"""struct bpf_insn on little-endian machines."""
MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS

Words: TypeAlias = npt.NDArray[np.uint32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Instruction: TypeAlias = tuple[int, int, int, int]
"""Code, steps if true, steps if false, k."""

_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)  # the class, code & 7
_FROM_X: Final = 0x08  # the operand is X instead of k
_MODE: Final = 0xE0
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_SIZES: Final = {0x00: 4, 0x08: 2, 0x10: 1}  # octets of a load, by code & 0x18
_OPERATION: Final = 0xF0
_DIV, _MOD = 0x30, 0x90
_JUMP_ALWAYS: Final = 0x00
_RET_A: Final = 0x10
_TXA: Final = 0x80
_SCRATCH: Final = 16
_BITS: Final = np.uint32(32)
_SHIFT_MASK: Final = np.uint32(31)

_ARITHMETIC: Final[dict[int, Callable[[Words, Words | np.uint32], Words]]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    _DIV: lambda a, b: a // b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: np.where(b < _BITS, a << (b & _SHIFT_MASK), np.uint32(0)),
    0x70: lambda a, b: np.where(b < _BITS, a >> (b & _SHIFT_MASK), np.uint32(0)),
    0x80: lambda a, _: np.uint32(0) - a,
    _MOD: lambda a, b: a % b,
    0xA0: lambda a, b: a ^ b,
}
_CONDITIONS: Final[dict[int, Callable[[Words, Words | np.uint32], Mask]]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: (a & b) != 0,
}


class Filter:
    """A compiled filter; `code` are the octets of its instructions, dtype INSTRUCTION.

    Raises DstmError for what is no program: jumps out of it, no return at its end, unknown
    instructions.
    """

    def __init__(self, code: bytes) -> None:
        if len(code) % INSTRUCTION.itemsize or not code:
            raise DstmError(f"filter of {len(code)} octets: expected instructions of 8 each")
        found = np.frombuffer(code, INSTRUCTION).tolist()
        if len(found) > MAX_INSTRUCTIONS:
            raise DstmError(f"filter of {len(found)} instructions: at most {MAX_INSTRUCTIONS}")
        self._program: list[Instruction] = found
        for at, instruction in enumerate(found):
            if not _is_good(instruction, at, len(found)):
                raise DstmError(
                    f"filter: instruction {at} is not possible: {instruction} "
                    f"(the loops of protochain are not)"
                )

    def matches(self, memory: FrameMemory, at: Index, length: npt.NDArray[np.int64]) -> Mask:
        """Which of the frames at `at` with `length` octets the filter accepts, shape (n,)."""
        accepted: Mask = np.zeros(len(at), np.bool_)
        zero: Words = np.zeros(len(at), np.uint32)
        arriving = {0: [_Group(np.arange(len(at)), at, length, zero, zero)]}
        for here, (code, jt, jf, k) in enumerate(self._program):
            group = _together(arriving.pop(here, []))
            if group is None:
                continue
            kind = code & 7
            if kind == _RET:
                accepted[group.rows] = group.a != 0 if code & 0x18 == _RET_A else bool(k)
            elif kind == _JMP:
                for step, part in _jump(group, code, (jt, jf), k):
                    arriving.setdefault(here + 1 + step, []).append(part)
            else:
                arriving.setdefault(here + 1, []).append(_execute(group, memory, code, k))
        return accepted


def _is_good(instruction: Instruction, at: int, count: int) -> bool:
    code, jt, jf, k = instruction
    room = count - at - 2  # instructions behind the next one
    kind = code & 7
    if kind == _JMP:
        if code & _OPERATION == _JUMP_ALWAYS:
            return k <= room
        return code & _OPERATION in _CONDITIONS and max(jt, jf) <= room
    if kind == _RET:
        return True
    good = {
        _LD: code & _MODE in {_IMM, _ABS, _IND, _MEM, _LEN} and code & 0x18 in _SIZES,
        _LDX: code & _MODE in {_IMM, _MEM, _LEN, _MSH},
        _ST: k < _SCRATCH,
        _STX: k < _SCRATCH,
        _ALU: code & _OPERATION in _ARITHMETIC,
        _MISC: True,
    }[kind]
    in_scratch = kind not in {_LD, _LDX} or code & _MODE != _MEM or k < _SCRATCH
    return good and in_scratch and room >= 0


@dataclasses.dataclass(slots=True)
class _Group:
    """Frames at the same instruction, and the machine's registers as columns."""

    rows: Index  # which frames of the burst
    at: Index
    length: npt.NDArray[np.int64]
    a: Words
    x: Words
    scratch: dict[int, Words] = dataclasses.field(default_factory=dict)

    def take(self, keep: Mask) -> _Group:
        """Those at the positions `keep`; itself if that is all of them."""
        if keep.all():
            return self
        scratch = {number: word[keep] for number, word in self.scratch.items()}
        return _Group(
            self.rows[keep], self.at[keep], self.length[keep], self.a[keep], self.x[keep], scratch
        )

    def word(self, number: int) -> Words:
        """A word of scratch memory; 0 until something was stored."""
        found = self.scratch.get(number)
        return np.zeros(len(self.rows), np.uint32) if found is None else found


def _together(groups: list[_Group]) -> _Group | None:
    """All frames that have come to an instruction; None if there are none."""
    groups = [group for group in groups if len(group.rows)]
    if len(groups) < 2:
        return groups[0] if groups else None
    used = {number for group in groups for number in group.scratch}
    scratch = {n: np.concatenate([group.word(n) for group in groups]) for n in used}
    return _Group(
        np.concatenate([group.rows for group in groups]),
        np.concatenate([group.at for group in groups]),
        np.concatenate([group.length for group in groups]),
        np.concatenate([group.a for group in groups]),
        np.concatenate([group.x for group in groups]),
        scratch,
    )


def _jump(group: _Group, code: int, steps: tuple[int, int], k: int) -> list[tuple[int, _Group]]:
    if code & _OPERATION == _JUMP_ALWAYS:
        return [(k, group)]
    holds = _CONDITIONS[code & _OPERATION](group.a, _operand(group, code, k))
    return [(steps[0], group.take(holds)), (steps[1], group.take(~holds))]


def _operand(group: _Group, code: int, k: int) -> Words | np.uint32:
    return group.x if code & _FROM_X else np.uint32(k)


def _execute(group: _Group, memory: FrameMemory, code: int, k: int) -> _Group:
    """Carry out an instruction that is no jump and no return; who goes on, registers changed."""
    kind = code & 7
    if kind == _LD:
        group, group.a = _load(group, memory, code, k)
    elif kind == _LDX:
        group, group.x = _load(group, memory, code, k)
    elif kind == _ALU:
        if code & _OPERATION in {_DIV, _MOD}:
            group = group.take(np.broadcast_to(_operand(group, code, k) != 0, len(group.rows)))
        group.a = _ARITHMETIC[code & _OPERATION](group.a, _operand(group, code, k))
    elif kind == _MISC and code & _TXA:
        group.a = group.x
    elif kind == _MISC:
        group.x = group.a
    else:
        group.scratch = group.scratch | {k: group.a if kind == _ST else group.x}
    return group


def _load(group: _Group, memory: FrameMemory, code: int, k: int) -> tuple[_Group, Words]:
    """Who goes on, and what they load."""
    mode = code & _MODE
    if mode == _IMM:
        return group, np.full(len(group.rows), k, np.uint32)
    if mode == _LEN:
        return group, group.length.astype(np.uint32)
    if mode == _MEM:
        return group, group.word(k)
    if mode == _MSH:  # 4 * (octet & 0xF), the length of an IPv4 header
        group, octets = _octets(group, memory, np.full(len(group.rows), k, np.int64), 1)
        return group, (octets & np.uint32(0xF)) << np.uint32(2)
    position = np.full(len(group.rows), k, np.int64)
    if mode == _IND:
        position += group.x
    return _octets(group, memory, position, _SIZES[code & 0x18])


def _octets(
    group: _Group, memory: FrameMemory, position: npt.NDArray[np.int64], size: int
) -> tuple[_Group, Words]:
    """Frames that have `size` octets at `position`, and these as numbers."""
    inside = position + size <= group.length
    group, position = group.take(inside), position[inside]
    octets = memory.records(size)[group.at + position].view(f">u{size}")
    return group, octets.astype(np.uint32)
