"""How an admitted packet leaves, compiled: who gets it, which way, and the headers it leaves with.

A packet that is not normal in some respect is not touched: everything is looked up before anything
is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, field_at, inlined
from dstmrouter.jit.pointers import load8, load32, load64, store8, store64
from dstmrouter.pipeline.bindings import ROW, RowKind
from dstmrouter.pipeline.compiled import packet, path_mtus
from dstmrouter.pipeline.compiled.rows import is_alive, row_in, row_of, slot_of, slot_of_set
from dstmrouter.pipeline.hops import HopState
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np

    from dstmrouter.pipeline.compiled.views import Burst, World

_HOP_AT, _TEP_AT, KIND_AT = (field_at(ROW, name) for name in ("hop", "tep", "kind"))
_INDEX, _TEP_SIZE = U(4), U(16)  # octets of a route, of a tunnel end point
_RESOLVED: Final = U(HopState.RESOLVED)
_NOT_POOL: Final = U(RowKind.NOT_POOL)
SHARED: Final = U(RowKind.SHARED)
DECAPSULATED: Final = U(Verdict.DECAPSULATED)
_HAIRPINNED: Final = U(Verdict.HAIRPINNED)


@inlined
def depart(world: World, burst: Burst, i: np.uint64, start: np.uint64, hop: np.uint64) -> None:
    """Note where frame `i` starts now and by which port it leaves; it ends with its packet."""
    inner_at = load64(burst.inner_at + i * WORD)
    store8(burst.port + i, packet.hop_port(hop))
    store64(burst.new_at + i * WORD, start - world.frames)
    store64(burst.new_length + i * WORD, inner_at - start + packet.total_length(inner_at))


@inlined
def into_tunnel(
    world: World, burst: Burst, i: np.uint64, row: np.uint64, now_s: np.uint64
) -> Truth:
    """R2-R8, R18: send packet `i` to the client of `row`; False if it is not a normal one."""
    inner_at = load64(burst.inner_at + i * WORD)
    hop = load64(world.hops + load32(row + _HOP_AT) * WORD)
    total_len = packet.total_length(inner_at)
    if packet.hop_state(hop) != _RESOLVED or not path_mtus.fits(world, row, total_len, now_s):
        return False
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
    depart(world, burst, i, packet.write_link(world, outer_at, hop, packet.ETHERTYPE_IPV6), hop)
    return True


@inlined
def route(world: World, address: np.uint64) -> np.uint64:
    """The next hop of a native address by longest prefix, as `Routes4.lookup` finds it."""
    active = load32(world.route_active)
    first = active * world.route_capacity * _INDEX
    starts, hops = world.route_starts + first, world.route_hops + first
    low, high = NONE, load32(world.route_counts + active * _INDEX)
    if high == NONE:
        return load64(world.hops)  # UNREACHABLE_HOP
    while high - low > ONE:
        middle = (low + high) >> ONE
        if load32(starts + middle * _INDEX) <= address:
            low = middle
        else:
            high = middle
    return load64(world.hops + load32(hops + low * _INDEX) * WORD)


@inlined
def to_internet(world: World, burst: Burst, i: np.uint64, address: np.uint64) -> Truth:
    """R15: send packet `i` to its next hop; False if it is not a normal one."""
    inner_at = load64(burst.inner_at + i * WORD)
    hop = route(world, address)
    if packet.hop_state(hop) != _RESOLVED:
        return False
    if packet.total_length(inner_at) > packet.link_mtu(world, packet.hop_port(hop)):
        return False
    packet.decrement_ttl(inner_at)
    depart(world, burst, i, packet.write_link(world, inner_at, hop, packet.ETHERTYPE_IPV4), hop)
    return True


@inlined
def out_of_tunnel(world: World, burst: Burst, i: np.uint64, now_s: np.uint64) -> Truth:
    """R12, R15, R16: take packet `i` out if its source is its client's; route it, or turn it."""
    inner_at, holder = load64(burst.inner_at + i * WORD), load64(burst.row + i * WORD)
    src6 = inner_at - packet.V6_LEN + packet.V6_SRC_AT
    if load64(holder) != load64(src6) or load64(holder + WORD) != load64(src6 + WORD):
        return False
    address = packet.address_at(inner_at + packet.DST_AT)
    if packet.is_martian(address):
        return False
    row = row_of(world, address)
    if load8(row + KIND_AT) == _NOT_POOL:
        return to_internet(world, burst, i, address)
    if load8(row + KIND_AT) == SHARED:
        row = row_in(
            world, slot_of_set(world, slot_of(world, address), inner_at, packet.DST_PORT_AT)
        )
    if not world.hairpin or not is_alive(row, now_s):
        return False
    store8(burst.verdict + i, _HAIRPINNED)
    store64(burst.turned + i * WORD, row)
    return into_tunnel(world, burst, i, row, now_s)


@inlined
def finish_one(world: World, burst: Burst, i: np.uint64, now_s: np.uint64) -> Truth:
    """Forward packet `i` of the burst if it is normal in every respect."""
    inner_at, row = load64(burst.inner_at + i * WORD), load64(burst.row + i * WORD)
    if not inner_at or not is_alive(row, now_s):
        return False
    if load8(burst.verdict + i) == DECAPSULATED:
        return out_of_tunnel(world, burst, i, now_s)
    if packet.is_martian(packet.address_at(inner_at + packet.SRC_AT)):
        return False
    return into_tunnel(world, burst, i, row, now_s)
