"""`dstm-router replay`: captures through the whole pipeline, without a network.

Frames of two pcap files come in by port 0 (IPv4 side) and port 1 (IPv6 side); what leaves is
written to two others. It is the engine of a worker over pcap ports; only routes and neighbours are
made up: everything outside the pools leaves by port 0, all clients are behind port 1.
"""

from __future__ import annotations

import csv
import dataclasses
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER, full_address_columns, words6
from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import Engine
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
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dstmrouter.binding import BindingColumns
    from dstmrouter.pipeline.rules import TunnelRules

FRAMES: Final = 8192
PORT4, PORT6 = 0, 1
_HOPS: Final = {PORT4: FIXED_HOPS, PORT6: FIXED_HOPS + 1}
_COLUMNS: Final = ("ipv4", "client6")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One port of a replay; MAC addresses have six octets."""

    read: Path | None
    write: Path | None
    mac: bytes
    next_mac: bytes
    mtu: int = 1500
    vlan: int | None = None


def read_bindings(path: Path, tep6: Sequence[IPv6Address]) -> BindingColumns:
    """Read a CSV file with the columns ipv4, client6 and optionally tep6.

    Raises DstmError with file and line for whatever is not an address, or not one of `tep6`.
    """
    ipv4: list[int] = []
    client6: list[IPv6Address] = []
    teps: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise DstmError(f"{path}:1: no column {missing[0]}, expected ipv4,client6[,tep6]")
            for line in reader:
                where = f"{path}:{reader.line_num}"
                ipv4.append(int(_address(IPv4Address, line["ipv4"], where)))
                client6.append(_address(IPv6Address, line["client6"], where))
                teps.append(_tep(line.get("tep6"), tep6, where))
    except OSError as error:
        raise DstmError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DstmError(f"{path}: {error}") from error
    return full_address_columns(
        np.array(ipv4, np.uint32),
        words6(client6),
        lifetime_s=LIFETIME_FOREVER,
        tep6=tep6,
        tep=np.array(teps, np.uint8),
    )


def _address(kind: type[Any], text: str | None, where: str) -> Any:
    try:
        return kind((text or "").strip())
    except AddressValueError:
        name = kind.__name__.removesuffix("Address")
        raise DstmError(f"{where}: {text!r}: expected an {name} address") from None


def _tep(text: str | None, tep6: Sequence[IPv6Address], where: str) -> int:
    if not text:
        return 0
    address = _address(IPv6Address, text, where)
    if address not in tep6:
        raise DstmError(f"{where}: {address}: expected one of {', '.join(map(str, tep6))}")
    return list(tep6).index(address)


def build_tables(
    rules: TunnelRules, pools: Sequence[IPv4Network], bindings: BindingColumns, sides: list[Side]
) -> Tables:
    """Tables in private memory. Raises DstmError if a binding is refused."""
    tep4 = None if rules.tep4 is None else int(rules.tep4)
    blocks = len(covered_blocks(pools, tep4)) + 1
    rows = FIXED_ROWS + len(bindings)
    table = BindingTable(bytearray(sum(BindingTable.sizes(blocks, rows))), blocks, rows)
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
    return Tables(table, routes4, hops, ports, path_mtus, clients6)


def replay(
    rules: TunnelRules, pools: Sequence[IPv4Network], bindings: BindingColumns, sides: list[Side]
) -> dict[Verdict, tuple[int, int]]:
    """Run all frames through; return packets and octets of every verdict that occurred.

    Raises DstmError for a file that is no capture.
    """
    umem = Umem(FRAMES)
    tables = build_tables(rules, pools, bindings, sides)
    counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
    forwarder = Forwarder(FrameMemory(umem.memory), tables, rules, umem.pool)
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
