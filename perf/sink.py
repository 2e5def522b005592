"""The far end: an XDP program that counts what arrives, by kind, and drops it.

Every CPU counts in places of its own, so no count is lost. What is neither plain IPv4 nor a tunnel
packet (neighbour discovery, for one) goes on to the kernel.
"""

from __future__ import annotations

import enum
import socket
import struct
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.owner import Owner
from dstmrouter.io.steering import XdpMode, attach_xdp
from dstmrouter.io.uapi import BpfHelper, BpfMapType, BpfProgType, XdpAction, XdpMd
from dstmrouter.wire import ether, ipv6

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.netns import Namespace

CPUS: Final = 64  # what arrives on a CPU of a higher number is not counted
QUIET_S: Final = 0.05  # without an arrival: nothing is under way any more
DRAIN_S: Final = 2.0  # at most until then (RFC 2544 section 23)
_DATA, _KIND = Reg.R6, Reg.R7
_KEY: Final = -8  # octets from the frame pointer
_NEXT_HEADER_AT: Final = ether.HEADER_LEN + 6


class Kind(enum.IntEnum):
    """What is counted."""

    IPV4 = 0
    TUNNEL = 1  # IPv6 with next header 4


class Sink(Owner):
    """Counts arrivals on one interface of a namespace."""

    def __init__(self, space: Namespace, interface: str) -> None:
        with ExitStack() as undo:
            spec = MapSpec(BpfMapType.ARRAY, 4, 8, CPUS * len(Kind))
            self._counts = undo.enter_context(Map.create(spec, "dstm_sink"))
            with space.entered():
                code = assemble(self._counts.fileno())
                program = undo.enter_context(Program.load(BpfProgType.XDP, code, "dstm_sink"))
                ifindex = socket.if_nametoindex(interface)
                undo.enter_context(attach_xdp(ifindex, program, XdpMode.NATIVE))
            self._undo = undo.pop_all()

    def count(self, kind: Kind) -> int:
        """How many packets of this kind have arrived."""
        total = 0
        for cpu in range(CPUS):
            value = self._counts.get(struct.pack("=I", cpu * len(Kind) + kind))
            assert value is not None, "an array has all its elements"
            total += int.from_bytes(value, "little")
        return total

    def settled(self, kind: Kind) -> int:
        """The count once nothing arrives any more."""
        return settled(lambda: self.count(kind))


def settled(arrived: Callable[[], int]) -> int:
    """How much has arrived, once nothing does any more."""
    deadline = time.monotonic() + DRAIN_S
    last, count = -1, arrived()
    while last != count and time.monotonic() < deadline:
        time.sleep(QUIET_S)
        last, count = count, arrived()
    return count


def assemble(counts_fd: int) -> bytes:
    """The program that counts into the array open as `counts_fd`."""
    asm = Assembler()
    asm.load(Size.U32, _DATA, Reg.R1, XdpMd.DATA)
    asm.load(Size.U32, Reg.R2, Reg.R1, XdpMd.DATA_END)
    asm.mov(Reg.R3, _DATA)
    asm.alu(Alu.ADD, Reg.R3, _NEXT_HEADER_AT + 1)
    asm.jump_if(Reg.R3, Cond.GT, Reg.R2, "pass")
    asm.load(Size.U16, Reg.R1, _DATA, ether.HEADER_LEN - 2)
    asm.to_big_endian(Reg.R1, 16)
    asm.mov(_KIND, Kind.IPV4.value)
    asm.jump_if(Reg.R1, Cond.EQ, ether.ETHERTYPE_IPV4, "count")
    asm.jump_if(Reg.R1, Cond.NE, ether.ETHERTYPE_IPV6, "pass")
    asm.load(Size.U8, Reg.R1, _DATA, _NEXT_HEADER_AT)
    asm.jump_if(Reg.R1, Cond.NE, ipv6.NEXT_IPV4, "pass")
    asm.mov(_KIND, Kind.TUNNEL.value)
    asm.label("count")
    _count(asm, counts_fd)
    asm.mov(Reg.R0, XdpAction.DROP)
    asm.exit()
    asm.label("pass")
    asm.mov(Reg.R0, XdpAction.PASS)
    asm.exit()
    return asm.assemble()


def _count(asm: Assembler, counts_fd: int) -> None:
    """Add one to the place of this CPU and _KIND."""
    asm.call(BpfHelper.GET_SMP_PROCESSOR_ID)
    asm.alu(Alu.LSH, Reg.R0, 1)  # as many kinds
    asm.alu(Alu.ADD, Reg.R0, _KIND)
    asm.store(Size.U32, Reg.R10, _KEY, Reg.R0)
    asm.load_map(Reg.R1, counts_fd)
    asm.mov(Reg.R2, Reg.R10)
    asm.alu(Alu.ADD, Reg.R2, _KEY)
    asm.call(BpfHelper.MAP_LOOKUP_ELEM)
    asm.jump_if(Reg.R0, Cond.EQ, 0, "pass")
    asm.load(Size.U64, Reg.R1, Reg.R0, 0)
    asm.alu(Alu.ADD, Reg.R1, 1)
    asm.store(Size.U64, Reg.R0, 0, Reg.R1)


assert len(Kind) == 2, "the program multiplies by shifting"
