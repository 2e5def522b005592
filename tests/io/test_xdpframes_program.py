"""What the verifier says; what the program does is in test_xdpframes.py."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.uapi import BpfMapType, BpfProgType
from dstmrouter.io.xdpframes import MEMORY_MAX
from dstmrouter.io.xdpframes_program import Layout, assemble

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="BPF programs need root")
PAGE = 4096


def load(memory: int, lines: int, slots: int, longest: int) -> None:
    """Let the kernel look at the program; raises BpfVerifierError."""
    layout = Layout(
        memory_fd=-1,
        memory_len=memory,
        longest=longest,
        lines_fd=-1,
        lines=lines,
        slots=slots,
        done_slots=2 * slots,
    )
    with ExitStack() as undo:
        fds = [
            undo.enter_context(Map.create(MapSpec(BpfMapType.ARRAY, 4, octets, 1), "send_test"))
            for octets in (memory + PAGE, layout.octets)
        ]
        layout = layout._replace(memory_fd=fds[0].fileno(), lines_fd=fds[1].fileno())
        undo.enter_context(Program.load(BpfProgType.XDP, assemble(layout), "send_test"))


@pytest.mark.parametrize(("lines", "slots"), [(1, 64), (2, 2048), (8, 65536)])
@pytest.mark.parametrize("memory", [256 * 2048, 1 << 25])
@pytest.mark.parametrize("longest", [2048, 2816])
def test_the_kernel_takes_it(lines: int, slots: int, memory: int, longest: int) -> None:
    load(memory, lines, slots, longest)


def test_the_largest_memory_is_within_the_verifiers_reach() -> None:
    load(MEMORY_MAX, 2, 2048, 2816)
