from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io.bpf import Program
from dstmrouter.io.bpfasm import Assembler, Reg
from dstmrouter.io.liveframes import KnownProgram, LiveRun
from dstmrouter.io.steering import attach_xdp
from dstmrouter.io.uapi import BpfHelper, BpfProgType, XdpAction
from tests.io.conftest import Veth, collect, frames_read, ip
from tests.io.programs import returning

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="BPF programs need root"),
]
FRAME = bytes(range(64))


def redirecting(ifindex: int) -> bytes:
    asm = Assembler()
    asm.mov(Reg.R1, ifindex)
    asm.mov(Reg.R2, 0)
    asm.call(BpfHelper.REDIRECT)
    asm.exit()
    return asm.assemble()


@pytest.mark.parametrize("known", [False, True])
def test_live_frames_really_leave(veth: Callable[[str], Veth], known: bool) -> None:
    pair = veth("live")
    with (
        pair.tap() as tap,
        Program.load(BpfProgType.XDP, redirecting(pair.ifindex), "live_test") as program,
        Program.load(BpfProgType.XDP, returning(XdpAction.PASS), "pass") as receiver,
        attach_xdp(socket.if_nametoindex(pair.far), receiver),  # veth takes such frames only then
    ):
        holder = KnownProgram(program, "known") if known else None
        run = LiveRun(program, FRAME, batch=256)
        run.run(1000)
        assert collect(tap, 1000) == [FRAME] * 1000
        run.run(1)
        assert collect(tap, 1) == [FRAME]
        if holder is not None:
            holder.close()
            run.run(2)
            assert collect(tap, 2) == [FRAME] * 2


def test_a_refusal_says_what_was_tried() -> None:
    with (
        Program.load(BpfProgType.XDP, returning(XdpAction.DROP), "live_test") as program,
        pytest.raises(SystemCallError, match="send live frames"),
    ):
        LiveRun(program, bytes(13)).run(3)


@pytest.mark.usefixtures("netns")
def test_a_known_program_has_a_device_of_its_own_as_long_as_it_is_open() -> None:
    with Program.load(BpfProgType.XDP, returning(XdpAction.DROP), "known_test") as program:
        first, second = KnownProgram(program, "known"), KnownProgram(program, "known")
        assert [first.name, second.name] == ["known0", "known1"]
        assert {"known0", "known1"} <= {name for _, name in socket.if_nameindex()}
        for holder in (first, second, second):
            holder.close()
    assert [name for _, name in socket.if_nameindex() if name.startswith("known")] == []


@pytest.mark.usefixtures("netns")
def test_frames_for_its_device_are_discarded() -> None:
    with (
        Program.load(BpfProgType.XDP, returning(XdpAction.PASS), "known_test") as known,
        KnownProgram(known, "known") as holder,
        Program.load(BpfProgType.XDP, redirecting(holder.ifindex), "live_test") as program,
    ):
        holder.discard()
        assert frames_read(holder.name) == 0
        LiveRun(program, FRAME).run(3)
        holder.discard()
        assert frames_read(holder.name) == 3
        assert "inet6" not in ip(f"address show {holder.name}")


@pytest.mark.usefixtures("netns")
def test_what_cannot_be_attached_leaves_no_device() -> None:
    with Program.load(BpfProgType.XDP, returning(XdpAction.DROP), "gone") as program:
        program.close()
        with pytest.raises(SystemCallError, match="attach XDP program to known0, native"):
            KnownProgram(program, "known")
    assert [name for _, name in socket.if_nameindex() if name.startswith("known")] == []
