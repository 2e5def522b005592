"""The way for kernels without TCX; all kernels have clsact, so it is tested on all."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io.bpf import Program
from dstmrouter.io.bpfasm import Assembler, Reg
from dstmrouter.io.clsact import ClsactFilter
from dstmrouter.io.uapi import BpfProgType, TcAction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.io.conftest import Veth

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="traffic control needs root"),
]


def tc(arguments: str) -> str:
    command = ["tc", *arguments.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def dropping(name: str) -> Program:
    asm = Assembler()
    asm.mov(Reg.R0, TcAction.SHOT)
    asm.exit()
    return Program.load(BpfProgType.SCHED_CLS, asm.assemble(), name)


@pytest.fixture
def program() -> Iterator[Program]:
    with dropping("first") as loaded:
        yield loaded


def test_the_filter_is_attached_and_leaves_nothing(
    veth: Callable[[str], Veth], program: Program
) -> None:
    pair = veth("c")
    attached = ClsactFilter.attach(pair.ifindex, program)
    shown = tc(f"filter show dev {pair.near} ingress")
    assert "dstm_steer direct-action" in shown
    assert "name first" in shown
    attached.close()
    attached.close()
    assert tc(f"filter show dev {pair.near} ingress") == ""
    assert "clsact" not in tc(f"qdisc show dev {pair.near}")


def test_it_can_be_attached_from_a_coroutine(veth: Callable[[str], Veth], program: Program) -> None:
    pair = veth("c")

    async def attach_and_close() -> str:
        with ClsactFilter.attach(pair.ifindex, program):
            return tc(f"filter show dev {pair.near} ingress")

    assert "name first" in asyncio.run(attach_and_close())


def test_the_leftover_of_a_killed_router_is_replaced(
    veth: Callable[[str], Veth], program: Program
) -> None:
    pair = veth("c")
    ClsactFilter.attach(pair.ifindex, program)  # and never closed
    with dropping("second") as second, ClsactFilter.attach(pair.ifindex, second):
        shown = tc(f"filter show dev {pair.near} ingress")
        assert "name second" in shown
        assert "name first" not in shown
    assert "clsact" not in tc(f"qdisc show dev {pair.near}")


def test_the_qdisc_of_others_stays(veth: Callable[[str], Veth], program: Program) -> None:
    pair = veth("c")
    tc(f"qdisc add dev {pair.near} clsact")
    ClsactFilter.attach(pair.ifindex, program).close()
    assert "clsact" in tc(f"qdisc show dev {pair.near}")


def test_our_qdisc_stays_while_others_use_it(veth: Callable[[str], Veth], program: Program) -> None:
    pair = veth("c")
    attached = ClsactFilter.attach(pair.ifindex, program)
    tc(f"filter add dev {pair.near} ingress protocol ip prio 7 u32 match u32 0 0 flowid 1:1")
    attached.close()
    shown = tc(f"filter show dev {pair.near} ingress")
    assert "u32" in shown
    assert "dstm_steer" not in shown


def test_an_interface_that_has_gone_needs_no_cleaning(
    veth: Callable[[str], Veth], program: Program
) -> None:
    pair = veth("c")
    attached = ClsactFilter.attach(pair.ifindex, program)
    subprocess.run(["ip", "link", "del", pair.near], check=True)
    attached.close()


def test_what_the_kernel_refuses_is_told(veth: Callable[[str], Veth]) -> None:
    pair = veth("c")
    asm = Assembler()
    asm.mov(Reg.R0, 2)
    asm.exit()
    with (
        Program.load(BpfProgType.XDP, asm.assemble(), "wrong_kind") as wrong,
        pytest.raises(SystemCallError, match=f"add TC filter to {pair.near}: "),
    ):
        ClsactFilter.attach(pair.ifindex, wrong)
