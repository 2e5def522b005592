"""802.1Q tags that the kernel has taken out of the frame before TC programs see it."""

from __future__ import annotations

import os
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.steering import SteeringMaps, attach_tcx, load_tc
from dstmrouter.io.uapi import BpfHelper, BpfMapType, BpfProgType, TcAction
from tests.io.conftest import Veth, mac_of
from tests.io.frames import ethernet, udp4

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]
VLAN = 5


def counting(counter: Map) -> Program:
    """A TC program that counts in `counter` the frames that come to it."""
    asm = Assembler()
    asm.store(Size.U32, Reg.R10, -4, 0)
    asm.load_map(Reg.R1, counter.fileno())
    asm.mov(Reg.R2, Reg.R10)
    asm.alu(Alu.ADD, Reg.R2, -4)
    asm.call(BpfHelper.MAP_LOOKUP_ELEM)
    asm.jump_if(Reg.R0, Cond.EQ, 0, "end")
    asm.load(Size.U64, Reg.R1, Reg.R0, 0)
    asm.alu(Alu.ADD, Reg.R1, 1)
    asm.store(Size.U64, Reg.R0, 0, Reg.R1)
    asm.label("end")
    asm.mov(Reg.R0, TcAction.UNSPEC)
    asm.exit()
    return Program.load(BpfProgType.SCHED_CLS, asm.assemble(), "counting")


@pytest.mark.parametrize(
    ("vid", "vlan", "ours"),
    [
        (VLAN, VLAN, True),
        (0x800 | VLAN, VLAN, False),
        (0, VLAN, False),
        (None, VLAN, False),
        (VLAN, None, False),
        (0, None, True),
        (None, None, True),
    ],
)
def test_tc_knows_the_tag_that_the_kernel_took_out(
    veth: Callable[[str], Veth], vid: int | None, vlan: int | None, ours: bool
) -> None:
    """The kernel moves a tag into the socket buffer before it runs TC programs."""
    pair, packet = veth("v"), udp4("192.0.2.1", 9, b"hello")
    with (
        SteeringMaps() as maps,
        Map.create(MapSpec(BpfMapType.ARRAY, 4, 8, 1), "passed") as passed,
        load_tc(maps, vlan) as steering,
        counting(passed) as counter,
        attach_tcx(pair.ifindex, steering),
        attach_tcx(pair.ifindex, counter),  # comes behind the other
        pair.tap() as tap,
    ):
        maps.set_pools([IPv4Network("192.0.2.0/24")])
        for ethertype in (0x0800, 0x0806):  # the second is never ours
            tap.send(ethernet(ethertype, packet, vid=vid, dst=mac_of(pair.near)))
        count = passed.get(bytes(4))
        assert count is not None
        assert int.from_bytes(count, "little") == (1 if ours else 2)
