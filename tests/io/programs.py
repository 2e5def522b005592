"""The smallest BPF programs."""

from __future__ import annotations

from dstmrouter.io.bpfasm import Assembler, Reg


def returning(value: int) -> bytes:
    """A program that does nothing else."""
    asm = Assembler()
    asm.mov(Reg.R0, value)
    asm.exit()
    return asm.assemble()
