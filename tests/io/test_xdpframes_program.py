"""What the verifier says; what the program does is in test_xdpframes.py."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.uapi import BpfMapType, BpfProgType
from dstmrouter.io.umem import DESC
from dstmrouter.io.xdpframes import MEMORY_MAX
from dstmrouter.io.xdpframes_program import CONTROL_LEN, ENTRIES_AT, Layout, assemble

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="BPF programs need root")
PAGE = 4096


@pytest.mark.parametrize(("rings", "slots"), [(1, 64), (2, 2048), (8, 65536)])
@pytest.mark.parametrize("memory", [256 * 2048, 1 << 25])
@pytest.mark.parametrize("longest", [2048, 2816])
def test_the_kernel_takes_it(rings: int, slots: int, memory: int, longest: int) -> None:
    ring_len = ENTRIES_AT + slots * DESC.itemsize
    lengths = memory + PAGE, CONTROL_LEN + rings * ring_len
    with ExitStack() as undo:
        tables = [
            undo.enter_context(Map.create(MapSpec(BpfMapType.ARRAY, 4, length, 1), "send_test"))
            for length in lengths
        ]
        layout = Layout(
            memory_fd=tables[0].fileno(),
            memory_len=memory,
            longest=longest,
            rings_fd=tables[1].fileno(),
            ring_len=ring_len,
            rings=rings,
            slots=slots,
        )
        undo.enter_context(Program.load(BpfProgType.XDP, assemble(layout), "send_test"))


def test_the_largest_memory_is_within_the_verifiers_reach() -> None:
    assert MEMORY_MAX <= 1 << 29  # BPF_MAX_VAR_OFF of kernel/bpf/verifier.c
