"""The assembler, judged by the kernel: programs run, and their results are compared."""

from __future__ import annotations

import os

import pytest

from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.bpfasm import INSTRUCTION, Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.uapi import BpfMapType, BpfProgType

needs_bpf = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]
FRAME = bytes(range(1, 65))
R0, R1, R2, R10 = Reg.R0, Reg.R1, Reg.R2, Reg.R10


def result(asm: Assembler) -> int:
    """What the program returns, as an unsigned 32-bit number."""
    asm.exit()
    with Program.load(BpfProgType.XDP, asm.assemble(), "asm_test") as program:
        return program.run(FRAME).action & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        (Alu.ADD, 1007),
        (Alu.SUB, 993),
        (Alu.OR, 1007),
        (Alu.AND, 0),
        (Alu.LSH, 128000),
        (Alu.RSH, 7),
        (Alu.XOR, 1007),
        (Alu.MOV, 7),
    ],
)
@pytest.mark.parametrize("from_register", [False, True])
class TestArithmetic:
    pytestmark = needs_bpf

    def test_constants_and_registers(self, operation: Alu, value: int, from_register: bool) -> None:
        asm = Assembler()
        asm.mov(R0, 1000)
        asm.mov(R1, 7)
        asm.alu(operation, R0, R1 if from_register else 7)
        assert result(asm) == value


@pytest.mark.parametrize(
    ("condition", "holds_for"),
    [
        (Cond.EQ, {5}),
        (Cond.NE, {4, 6}),
        (Cond.GT, {6}),
        (Cond.GE, {5, 6}),
        (Cond.LT, {4}),
        (Cond.LE, {4, 5}),
        (Cond.ANY_BIT, {4, 5, 6}),
    ],
)
@pytest.mark.parametrize("value", [4, 5, 6])
@pytest.mark.parametrize("from_register", [False, True])
class TestConditions:
    pytestmark = needs_bpf

    def test_jump_is_taken_when_it_holds(
        self, condition: Cond, holds_for: set[int], value: int, from_register: bool
    ) -> None:
        asm = Assembler()
        asm.mov(R0, 1)
        asm.mov(R1, value)
        asm.mov(R2, 5)
        asm.jump_if(R1, condition, R2 if from_register else 5, "taken")
        asm.mov(R0, 0)
        asm.label("taken")
        assert result(asm) == (value in holds_for)


class TestMemory:
    pytestmark = needs_bpf

    @pytest.mark.parametrize(
        ("size", "value"), [(Size.U8, 0x44), (Size.U16, 0x3344), (Size.U32, 0x11223344)]
    )
    @pytest.mark.parametrize("from_register", [False, True])
    def test_what_is_stored_is_loaded(self, size: Size, value: int, from_register: bool) -> None:
        asm = Assembler()
        asm.store(Size.U64, R10, -8, 0)
        asm.mov(R1, 0x11223344)
        asm.store(size, R10, -8, R1 if from_register else 0x11223344)
        asm.load(Size.U64, R0, R10, -8)
        assert result(asm) == value

    def test_the_value_of_an_array_is_added_to(self) -> None:
        spec = MapSpec(BpfMapType.ARRAY, 4, 16, 1)
        with Map.create(spec, "asm_test") as array:
            array.set(bytes(4), (5).to_bytes(8, "little") + (7).to_bytes(8, "little"))
            asm = Assembler()
            asm.load_map_value(R1, array.fileno())
            asm.mov(R2, 100)
            asm.atomic_add(R1, 8, R2)
            asm.load(Size.U64, R0, R1, 8)
            assert result(asm) == 107
            expected = (5).to_bytes(8, "little") + (107).to_bytes(8, "little")
            assert array.get(bytes(4)) == expected

    def test_frame_octets_in_network_order(self) -> None:
        asm = Assembler()
        asm.load(Size.U32, R2, R1, 0)  # xdp_md.data
        asm.load(Size.U32, Reg.R3, R1, 4)  # xdp_md.data_end
        asm.mov(R0, R2)
        asm.alu(Alu.ADD, R0, 14)
        asm.jump_if(R0, Cond.GT, Reg.R3, "short")
        asm.load(Size.U16, R0, R2, 12)
        asm.to_big_endian(R0, 16)
        asm.jump("end")
        asm.label("short")
        asm.mov(R0, 0)
        asm.label("end")
        assert result(asm) == 0x0D0E


def test_an_instruction_is_eight_octets() -> None:
    assert INSTRUCTION.itemsize == 8
    asm = Assembler()
    asm.mov(Reg.R0, Reg.R7)
    assert asm.assemble().hex() == "bf70000000000000"  # RFC 9669: MOV, X, ALU64; src 7, dst 0


def test_our_own_mistakes_are_assertions() -> None:
    missing, twice, backward = Assembler(), Assembler(), Assembler()
    missing.jump("nowhere")
    with pytest.raises(AssertionError, match="no label nowhere"):
        missing.assemble()
    twice.label("here")
    with pytest.raises(AssertionError, match="label here set twice"):
        twice.label("here")
    backward.label("start")
    backward.jump("start")
    with pytest.raises(AssertionError, match="jump to start over -1"):
        backward.assemble()
