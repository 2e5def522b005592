"""How an admitted packet leaves, compiled: who gets it, which way, and the headers it leaves with.

A packet that is not normal in some respect is not touched: everything is looked up before anything
is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, field_at, inlined
from dstmrouter.jit.pointers import load8, load32, load64, store8, store64
from dstmrouter.pipeline.bindings import ROW, RowKind
from dstmrouter.pipeline.compiled import packet, path_mtus
from dstmrouter.pipeline.compiled.rows import is_alive, row_in, slot_of, slot_of_set
from dstmrouter.pipeline.hops import HopState
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np

    from dstmrouter.pipeline.compiled.views import Burst, World

_HOP_AT, _TEP_AT, KIND_AT = (field_at(ROW, name) for name in ("hop", "tep", "kind"))
_INDEX, _TEP_SIZE = U(4), U(16)  # octets of a route, of a tunnel end point
_RESOLVED: Final = U(HopState.RESOLVED)
_NOT_POOL: Final = U(RowKind.NOT_POOL)
_SHARED: Final = U(RowKind.SHARED)
STAYS: Final = U(0x100)  # in place of a port
DECAPSULATED: Final = U(Verdict.DECAPSULATED)
_HAIRPINNED: Final = U(Verdict.HAIRPINNED)


class Moment(NamedTuple):
    """What is the same for all packets of a burst."""

    now_s: np.uint64
    starts: np.uint64  # addresses: of the active routes, as `dstmrouter.pipeline.routes4`
    hops: np.uint64
    routes: np.uint64  # how many routes there are


@inlined
def moment_of(world: World, now_s: np.uint64) -> Moment:
    """The routes as they are at `now_s`, good until the worker's turn ends."""
    active = load32(world.route_active)
    first = active * world.route_capacity * _INDEX
    count = load32(world.route_counts + active * _INDEX)
    return Moment(now_s, world.route_starts + first, world.route_hops + first, count)


@inlined
def depart(
    world: World, burst: Burst, i: np.uint64, start: np.uint64, end: np.uint64, hop: np.uint64
) -> np.uint64:
    """Note that frame `i` leaves towards `hop`, from address `start` to `end`; return the port."""
    port = packet.hop_port(hop)
    store8(burst.port + i, port)
    store64(burst.new_at + i * WORD, start - world.frames)
    store64(burst.new_length + i * WORD, end - start)
    return port


@inlined
def into_tunnel(
    world: World, burst: Burst, i: np.uint64, inner_at: np.uint64, row: np.uint64, now_s: np.uint64
) -> np.uint64:
    """R2-R8, R18: send packet `i` to the client of `row`; STAYS if it is not a normal one."""
    hop = load64(world.hops + load32(row + _HOP_AT) * WORD)
    total_len = packet.total_length(inner_at)
    if packet.hop_state(hop) != _RESOLVED or not path_mtus.fits(world, row, total_len, now_s):
        return STAYS
    first_word = load64(world.first_words + load8(inner_at + packet.TOS_AT) * WORD)
    if world.hashed_label:
        first_word |= packet.flow_label(inner_at, total_len, world)
    packet.decrement_ttl(inner_at)
    outer_at, tep = inner_at - packet.V6_LEN, world.teps + load8(row + _TEP_AT) * _TEP_SIZE
    packet.write_outer(outer_at, first_word, total_len, world)
    store64(outer_at + packet.V6_SRC_AT, load64(tep))
    store64(outer_at + packet.V6_SRC_AT + WORD, load64(tep + WORD))
    store64(outer_at + packet.V6_DST_AT, load64(row))
    store64(outer_at + packet.V6_DST_AT + WORD, load64(row + WORD))
    start = packet.write_link(world, outer_at, hop, packet.ETHERTYPE_IPV6)
    return depart(world, burst, i, start, inner_at + total_len, hop)


@inlined
def route(world: World, moment: Moment, address: np.uint64) -> np.uint64:
    """The next hop of a native address by longest prefix, as `Routes4.lookup` finds it."""
    low, high = NONE, moment.routes
    if high == NONE:
        return load64(world.hops)  # UNREACHABLE_HOP
    while high - low > ONE:
        middle = (low + high) >> ONE
        if load32(moment.starts + middle * _INDEX) <= address:
            low = middle
        else:
            high = middle
    return load64(world.hops + load32(moment.hops + low * _INDEX) * WORD)


@inlined
def to_internet(
    world: World,
    burst: Burst,
    i: np.uint64,
    inner_at: np.uint64,
    address: np.uint64,
    moment: Moment,
) -> np.uint64:
    """R15: send packet `i` to its next hop; STAYS if it is not a normal one."""
    hop, total_len = route(world, moment, address), packet.total_length(inner_at)
    if packet.hop_state(hop) != _RESOLVED:
        return STAYS
    if total_len > packet.link_mtu(world, packet.hop_port(hop)):
        return STAYS
    packet.decrement_ttl(inner_at)
    start = packet.write_link(world, inner_at, hop, packet.ETHERTYPE_IPV4)
    return depart(world, burst, i, start, inner_at + total_len, hop)


@inlined
def is_from(holder: np.uint64, inner_at: np.uint64) -> Truth:
    """R12: whether a tunnel packet comes from the client of the row `holder`."""
    src6 = inner_at - packet.V6_LEN + packet.V6_SRC_AT
    client: Truth = load64(holder) == load64(src6)
    return client and load64(holder + WORD) == load64(src6 + WORD)


@inlined
def row_towards(world: World, inner_at: np.uint64, address: np.uint64) -> np.uint64:
    """Where the row is that speaks of the destination, `address`, of a packet from a client."""
    slot = slot_of(world, address)
    row = row_in(world, slot)
    if load8(row + KIND_AT) == _SHARED:
        return row_in(world, slot_of_set(world, slot, inner_at, packet.DST_PORT_AT))
    return row


@inlined
def finish_one(world: World, burst: Burst, i: np.uint64, moment: Moment) -> np.uint64:
    """Forward packet `i` of the burst if it is normal in every respect; its port, or STAYS."""
    inner_at, row = load64(burst.inner_at + i * WORD), load64(burst.row + i * WORD)
    if not inner_at or not is_alive(row, moment.now_s):
        return STAYS
    if load8(burst.verdict + i) == DECAPSULATED:
        address = packet.address_at(inner_at + packet.DST_AT)
        if not is_from(row, inner_at) or packet.is_martian(address):
            return STAYS
        row = row_towards(world, inner_at, address)
        if load8(row + KIND_AT) == _NOT_POOL:
            return to_internet(world, burst, i, inner_at, address, moment)
        if not world.hairpin or not is_alive(row, moment.now_s):
            return STAYS
        store8(burst.verdict + i, _HAIRPINNED)
        store64(burst.turned + i * WORD, row)
    elif packet.is_martian(packet.address_at(inner_at + packet.SRC_AT)):
        return STAYS
    return into_tunnel(world, burst, i, inner_at, row, moment.now_s)
