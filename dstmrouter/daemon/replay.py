"""`dstm-router replay`: captures through the whole pipeline, without a network.

Frames of two pcap files come in by port 0 (IPv4 side) and port 1 (IPv6 side); what leaves is
written to two others. It is the engine of a worker over pcap ports; only routes and neighbours are
made up: everything outside the pools leaves by port 0, all clients are behind port 1.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import Engine
from dstmrouter.daemon.filtering import compile_filters, filtered
from dstmrouter.daemon.tablememory import private
from dstmrouter.errors import DstmError
from dstmrouter.io.pcapport import PcapPort
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable, covered_blocks
from dstmrouter.pipeline.clients6 import ClientSet
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.hops import FIXED_HOPS, HopState, HopTable
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outcome import Tables
from dstmrouter.pipeline.pathmtu import PathMtus
from dstmrouter.pipeline.ports import PortTable
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.routes4 import Routes4
from dstmrouter.pipeline.usage import UsageTable
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network
    from pathlib import Path

    from dstmrouter.binding import BindingColumns
    from dstmrouter.daemon.engine import Steps
    from dstmrouter.pipeline.rules import TunnelRules

FRAMES: Final = 12_288  # two ports hold 4,096 each to receive into; the others are for our packets
PORT4, PORT6 = 0, 1
_HOPS: Final = {PORT4: FIXED_HOPS, PORT6: FIXED_HOPS + 1}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One port of a replay; MAC addresses have six octets."""

    read: Path | None
    write: Path | None
    mac: bytes
    next_mac: bytes
    mtu: int = 1500
    vlan: int | None = None
    filter_in: str = ""  # pcap-filter(7) expressions of what may pass; empty for everything
    filter_out: str = ""


def build_tables(
    rules: TunnelRules, pools: Sequence[IPv4Network], bindings: BindingColumns, sides: list[Side]
) -> Tables:
    """Tables in memory of our own. Raises DstmError if a binding is refused."""
    tep4 = None if rules.tep4 is None else int(rules.tep4)
    blocks = len(covered_blocks(pools, tep4)) + 1
    shared = bindings.psid_len > 0
    _, first = np.unique(bindings.ipv4[shared], return_index=True)
    sets = int((1 << bindings.psid_len[shared][first].astype(np.int64)).sum())
    rows = FIXED_ROWS + len(bindings) + len(first)
    sizes = blocks, rows, sets
    table = BindingTable(private(sum(BindingTable.sizes(*sizes))), *sizes)
    table.lay_out(pools, tep4)
    hops = HopTable(np.zeros(FIXED_HOPS + len(sides), np.uint64))
    hops.lay_out()
    ports = PortTable(bytearray(PortTable.SIZE))
    for number, side in enumerate(sides):
        hops.set(_HOPS[number], side.next_mac, number, HopState.RESOLVED)
        ports.set(number, mac=side.mac, mtu=side.mtu, vlan=side.vlan)
    routes4 = Routes4(bytearray(Routes4.size(1)), 1)
    routes4.publish(np.zeros(1, np.uint32), np.full(1, _HOPS[PORT4], np.uint32))
    writer = BindingWriter(
        table,
        Turns(bytearray(Turns.size(1)), 1),
        rules.tep6,
        lambda client6: np.full(len(client6), _HOPS[PORT6], np.uint32),
    )
    clients6 = ClientSet(bytearray(ClientSet.size(len(bindings))), len(bindings))
    clients6.lay_out(rules.flow_key)
    writer.on_bound = clients6.add
    path_mtus = PathMtus(bytearray(PathMtus.SIZE))
    path_mtus.lay_out(rules.flow_key)
    applied = writer.apply("replay", bindings, 0)
    if applied.refused:
        why = ", ".join(f"{count} x {reason}" for reason, count in applied.reasons.items())
        raise DstmError(f"bindings refused: {why}")
    usage = UsageTable(private(UsageTable.size(1, rows)), 1, rows)
    return Tables(table, routes4, hops, ports, path_mtus, clients6, usage)


def replay(
    rules: TunnelRules,
    pools: Sequence[IPv4Network],
    bindings: BindingColumns,
    sides: list[Side],
    chunk_size: int = 2048,
    *,
    compiled: bool = False,
) -> dict[Verdict, tuple[int, int]]:
    """Run all frames through; return packets and octets of every verdict that occurred.

    `chunk_size` octets hold a frame and the room before it. `compiled` is the way workers go by
    default; the result is the same. Raises DstmError for a file that is no capture, ConfigError for
    a filter that is none.
    """
    filters = compile_filters(sides)
    umem = Umem(FRAMES, chunk_size)
    tables = build_tables(rules, pools, bindings, sides)
    counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
    steps = Forwarder(FrameMemory(umem.memory), tables, rules, umem.pool)
    forwarder = _compiled(umem, tables, rules, steps) if compiled else steps
    forwarder = filtered(forwarder, umem.memory, filters)
    ports = [
        PcapPort(umem, f"port{number}", read=side.read, write=side.write)
        for number, side in enumerate(sides)
    ]
    try:
        engine = Engine(umem, ports, forwarder, counters)
        while engine.turn(0) or not all(port.exhausted for port in ports):
            assert engine.missing() == 0, "a frame got lost"
    finally:
        for port in ports:
            port.close()
    packets, octets = counters.totals()
    return {v: (int(packets[v]), int(octets[v])) for v in Verdict if packets[v]}


def _compiled(umem: Umem, tables: Tables, rules: TunnelRules, steps: Forwarder) -> Steps:
    """The compiled pass in front of `steps`; loads Numba, or compiles for some seconds."""
    from dstmrouter.pipeline.compiled.forward import CompiledForwarder

    return CompiledForwarder(umem.memory, tables, rules, steps)
