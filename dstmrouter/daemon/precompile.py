"""Compile what workers load, before they need it: after an installation or an update."""

from __future__ import annotations

import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.binding import full_address_columns, words6
from dstmrouter.daemon.compiled.ringturn import RingTurn
from dstmrouter.daemon.replay import Side, build_tables
from dstmrouter.io.blockring import BlockRing
from dstmrouter.io.compiled.blocks import CompiledBlocks
from dstmrouter.io.slotring import SlotRing
from dstmrouter.io.umem import FramePool
from dstmrouter.jit import cache
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

_MEMORY = 1 << 15  # octets; nothing is done with them


def precompile() -> tuple[Path | None, float]:
    """Make all compiled code, on tables that know nothing; where it is kept, and seconds taken."""
    start = time.monotonic()
    rules = TunnelRules(tep6=(IPv6Address("2001:db8::1"),))
    nobody = full_address_columns(np.zeros(0, np.uint32), words6([]), lifetime_s=0, tep6=rules.tep6)
    sides = [Side(read=None, write=None, mac=bytes(6), next_mac=bytes(6)) for _ in range(2)]
    tables, memory = build_tables(rules, [], nobody, sides), bytearray(_MEMORY)
    steps = Forwarder(FrameMemory(memory), tables, rules, FramePool(1, _MEMORY))
    compiled = CompiledForwarder(memory, tables, rules, steps)
    RingTurn(compiled, FramePool(1, _MEMORY), [], np.zeros((2, len(Verdict)), np.uint64))
    CompiledBlocks(BlockRing(memory, _MEMORY), memory, memory, _MEMORY)
    SlotRing(memory, 2048, memory).use_compiled()
    return cache.directory(), time.monotonic() - start
