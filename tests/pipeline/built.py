"""The tables and rules of a router that knows a World."""

from __future__ import annotations

import dataclasses
import mmap
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER, BindingColumns, full_address_columns, words6
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable, covered_blocks
from dstmrouter.pipeline.clients6 import ClientSet
from dstmrouter.pipeline.hops import HopState, HopTable
from dstmrouter.pipeline.outcome import Tables
from dstmrouter.pipeline.pathmtu import PathMtus
from dstmrouter.pipeline.ports import PortTable
from dstmrouter.pipeline.prefixes import Span, intervals4
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.routes4 import Routes4
from dstmrouter.pipeline.rules import ReassemblyRules, TunnelRules
from dstmrouter.pipeline.usage import UsageTable

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.binding import Words6
    from tests.pipeline.worlds import BindingSpec, World


def tunnel_rules(world: World) -> TunnelRules:
    """The rules of `world` as the pipeline has them."""
    fields = {
        field.name: getattr(world.rules, field.name) for field in dataclasses.fields(world.rules)
    }
    fields["icmp"] = world.icmp
    fields["reassembly"] = ReassemblyRules(**dataclasses.asdict(fields["reassembly"]))
    return TunnelRules(**fields)


def binding_columns(world: World) -> BindingColumns:
    """The bindings of a world, with lifetimes counted from time 0."""
    sets = [
        (client4, divided, psid, spec)
        for client4, divided in world.shared.items()
        for psid, spec in divided.holders.items()
    ]
    held = [*world.bindings.items(), *((client4, spec) for client4, _, _, spec in sets)]
    specs = [spec for _, spec in held]
    columns = full_address_columns(
        np.array([int(client4) for client4, _ in held], np.uint32),
        words6([spec.client6 for spec in specs]),
        lifetime_s=np.array([_lifetime(spec) for spec in specs], np.uint32),
        tep6=world.rules.tep6,
        tep=np.array([spec.tep for spec in specs], np.uint8),
    )
    whole = len(world.bindings)
    columns.psid_offset[whole:] = [divided.offset for _, divided, _, _ in sets]
    columns.psid_len[whole:] = [divided.length for _, divided, _, _ in sets]
    columns.psid[whole:] = [psid for _, _, psid, _ in sets]
    return columns


def _lifetime(spec: BindingSpec) -> int:
    return LIFETIME_FOREVER if spec.expires == float("inf") else int(spec.expires)


def tables(world: World) -> Tables:
    """The tables of a router that knows `world`."""
    path_mtus = PathMtus(bytearray(PathMtus.SIZE))
    path_mtus.lay_out((3, 7))
    columns = binding_columns(world)
    clients6 = ClientSet(bytearray(ClientSet.size(len(columns))), len(columns))
    clients6.lay_out((5, 9))
    clients6.add(columns.client6)
    shared = _routes(world), _hops(world), _ports(world), path_mtus, clients6
    bindings = _bindings(world)
    rows = len(bindings.rows)
    usage = UsageTable(bytearray(UsageTable.size(1, rows)), 1, rows)
    return Tables(bindings, *shared, usage)


def _bindings(world: World) -> BindingTable:
    tep4 = None if world.rules.tep4 is None else int(world.rules.tep4)
    columns = binding_columns(world)
    blocks = len(covered_blocks(world.pools, tep4)) + 1
    rows = FIXED_ROWS + len(columns) + len(world.shared)
    sizes = blocks, rows, sum(1 << divided.length for divided in world.shared.values())
    # Zeroed pages that nobody touches cost nothing: the directory alone has 64 MiB.
    table = BindingTable(mmap.mmap(-1, sum(BindingTable.sizes(*sizes))), *sizes)
    table.lay_out(world.pools, tep4)
    hops = {spec.client6: spec.hop for spec in world.bindings.values()}
    for divided in world.shared.values():
        hops |= {spec.client6: spec.hop for spec in divided.holders.values()}

    def hops_of(client6: Words6) -> npt.NDArray[np.uint32]:
        return np.array([hops[IPv6Address(row.tobytes())] for row in client6], np.uint32)

    writer = BindingWriter(table, Turns(bytearray(Turns.size(1)), 1), world.rules.tep6, hops_of)
    result = writer.apply("server", columns, 0)
    assert result.applied == len(columns), result.reasons
    return table


def _routes(world: World) -> Routes4:
    spans = [
        Span(int(net.network_address), int(net.broadcast_address), hop)
        for net, hop in world.routes.items()
    ]
    compiled = intervals4(spans)
    routes = Routes4(bytearray(Routes4.size(len(compiled))), len(compiled))
    routes.publish(compiled.starts, compiled.values)
    return routes


def _hops(world: World) -> HopTable:
    hops = HopTable(np.zeros(max(world.hops) + 1, np.uint64))
    hops.lay_out()
    for number, spec in world.hops.items():
        hops.set(number, spec.mac, spec.port, HopState[spec.state.upper()])
    return hops


def _ports(world: World) -> PortTable:
    ports = PortTable(bytearray(PortTable.SIZE))
    for number, port in enumerate(world.ports):
        ports.set(number, mac=port.mac, mtu=port.mtu, vlan=port.vlan)
    return ports
