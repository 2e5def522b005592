"""One value shared with BPF programs: an array of one element, mapped into this process."""

from __future__ import annotations

import mmap
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.bpf import Map, MapSpec
from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.owner import Owner
from dstmrouter.io.uapi import BPF_F_MMAPABLE, BpfMapType

if TYPE_CHECKING:
    import numpy.typing as npt

SLOT_BITS: Final = 15
SLOTS: Final = 1 << SLOT_BITS  # of time, for counts over a trial


class SharedValue(Owner):
    """Owner of the map; `view` is a record of `dtype`, live in both directions."""

    def __init__(self, dtype: np.dtype[np.void], name: str) -> None:
        pages = -(-dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        with ExitStack() as undo:
            spec = MapSpec(BpfMapType.ARRAY, 4, pages, 1, BPF_F_MMAPABLE)
            self._map = undo.enter_context(Map.create(spec, name))
            # Pages stay as long as an array looks at them: they are not unmapped by hand.
            self.view: npt.NDArray[np.void] = np.frombuffer(self._map.memory(pages), dtype, 1)
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Descriptor of the map."""
        return self._map.fileno()


def offset(dtype: np.dtype[np.void], name: str) -> int:
    """Octets from the start of the record to a field."""
    return int(dtype.fields[name][1])  # type: ignore[index]  # a structure has fields


def count_slot(
    asm: Assembler, state: tuple[Reg, np.dtype[np.void]], counts_at: int, stamp: Reg
) -> None:
    """Add one to the slot of time that `stamp` (ns) falls into; R1 to R3 are lost.

    `state` is the register with the address of a record with the fields `begun` (ns) and
    `slot_shift`, and its dtype; the last slot also counts what comes later.
    """
    base, dtype = state
    asm.mov(Reg.R1, stamp)
    asm.load(Size.U64, Reg.R2, base, offset(dtype, "begun"))
    asm.alu(Alu.SUB, Reg.R1, Reg.R2)
    asm.load(Size.U64, Reg.R2, base, offset(dtype, "slot_shift"))
    asm.alu(Alu.AND, Reg.R2, 63)
    asm.alu(Alu.RSH, Reg.R1, Reg.R2)
    label = f"slot at {asm.position}"
    asm.jump_if(Reg.R1, Cond.LT, SLOTS, label)
    asm.mov(Reg.R1, SLOTS - 1)
    asm.label(label)
    asm.alu(Alu.LSH, Reg.R1, 3)
    asm.alu(Alu.ADD, Reg.R1, base)
    asm.alu(Alu.ADD, Reg.R1, counts_at)
    asm.mov(Reg.R2, 1)
    asm.atomic_add(Reg.R1, 0, Reg.R2)
