"""The compiled pass over a burst: admit, look up, write; no object per packet.

Each of the three begins with loads that miss the caches (headers another CPU has written, slots and
rows of a table of 32 MB and more), and the processor overlaps those of several packets only when
the work between them is short. So each is a loop over a group of packets, small enough for their
headers to stay in the first cache: frames start at the same place of their chunks, so they compete
for few of its lines (24 frames, where it has 48 KB and 12 ways). The headers of the next group are
fetched meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from numba.np.unsafe.ndarray import to_fixed_tuple

from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, compiled, field_at, inlined, span
from dstmrouter.jit.pointers import (
    load8,
    load32,
    load64,
    prefetch,
    prefetch_to_write,
    store8,
    store64,
)
from dstmrouter.pipeline.bindings import ROW, RowKind
from dstmrouter.pipeline.compiled import packet, path_mtus
from dstmrouter.pipeline.compiled.rows import is_alive, row_of, row_of_set
from dstmrouter.pipeline.compiled.views import NO_PORT, Burst, World
from dstmrouter.pipeline.hops import HopState
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_HOP_AT, _TEP_AT, _KIND_AT = (field_at(ROW, name) for name in ("hop", "tep", "kind"))
_INDEX, _TEP_SIZE = U(4), U(16)  # octets of a route, of a tunnel end point
_RESOLVED: Final = U(HopState.RESOLVED)
_NOT_POOL: Final = U(RowKind.NOT_POOL)
_SHARED: Final = U(RowKind.SHARED)
_ENCAPSULATED: Final = U(Verdict.ENCAPSULATED)
_DECAPSULATED: Final = U(Verdict.DECAPSULATED)
_HAIRPINNED: Final = U(Verdict.HAIRPINNED)
_UNDECIDED: Final = U(0)
_NO_PORT: Final = U(NO_PORT)
_NOBODY: Final = U(0xFFFF)  # no port yet
_GROUP: Final = U(16)  # packets
_WORLD_FIELDS: Final = len(World._fields)
_COLUMNS: Final = len(Burst._fields) - 3  # without those that come with each burst
_LINE: Final = U(64)  # octets of a cache line
_IPV4: Final = packet.ETHERTYPE_IPV4
_IPV6: Final = packet.ETHERTYPE_IPV6


class Group(NamedTuple):
    """The packets from `first` to `end` of a burst, and what is known behind the ones before."""

    first: np.uint64
    end: np.uint64
    left: np.uint64  # packets left to the numpy steps
    only_port: np.uint64  # by which all others leave; NO_PORT if there are several


@inlined
def admit(world: World, burst: Burst, group: Group, vlan: np.uint64) -> None:
    """Find normal packets by their headers alone; `row` is the address to look up, for now."""
    for i in span(group.first, group.end):
        at = world.frames + load64(burst.at + i * WORD)
        link_len = packet.link_len(at, vlan)
        ip_at, room = at + link_len, load64(burst.length + i * WORD) - link_len
        inner_at, leased, verdict = NONE, NONE, _UNDECIDED
        # A frame shorter than its link header has a huge room, and no ethertype of ours: what lies
        # behind it is not looked at.
        if link_len and room >> U(32) == NONE and room >= packet.V4_LEN:
            ethertype = packet.ethertype(ip_at)
            if ethertype == _IPV4 and packet.is_normal(ip_at, room):
                inner_at, verdict = ip_at, _ENCAPSULATED
                leased = packet.address_at(ip_at + packet.DST_AT)
            elif ethertype == _IPV6:
                inner_at, verdict = packet.tunnelled_at(ip_at, room, world), _DECAPSULATED
                leased = packet.address_at(inner_at + packet.SRC_AT) if inner_at else NONE
        if inner_at and world.clamps and packet.opens_connection(inner_at):
            inner_at = NONE
        store64(burst.inner_at + i * WORD, inner_at)
        store64(burst.row + i * WORD, leased)
        store8(burst.verdict + i, verdict)


@inlined
def look_up(world: World, burst: Burst, group: Group) -> None:
    """Replace the addresses in `row` by their rows."""
    for i in span(group.first, group.end):
        row = row_of(world, load64(burst.row + i * WORD))
        prefetch(row)
        store64(burst.row + i * WORD, row)


@inlined
def look_up_sets(world: World, burst: Burst, group: Group) -> None:
    """Replace those of `row` that are of shared addresses by the rows of port sets."""
    for i in span(group.first, group.end):
        row = load64(burst.row + i * WORD)
        if load8(row + _KIND_AT) == _SHARED:
            from_client = load8(burst.verdict + i) == _DECAPSULATED
            place = packet.SRC_PORT_AT if from_client else packet.DST_PORT_AT
            row = row_of_set(world, row, load64(burst.inner_at + i * WORD), place)
            prefetch(row)
            store64(burst.row + i * WORD, row)


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
    depart(world, burst, i, packet.write_link(world, outer_at, hop, _IPV6), hop)
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
    depart(world, burst, i, packet.write_link(world, inner_at, hop, _IPV4), hop)
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
    if load8(row + _KIND_AT) == _NOT_POOL:
        return to_internet(world, burst, i, address)
    if load8(row + _KIND_AT) == _SHARED:
        row = row_of_set(world, row, inner_at, packet.DST_PORT_AT)
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
    if load8(burst.verdict + i) == _DECAPSULATED:
        return out_of_tunnel(world, burst, i, now_s)
    if packet.is_martian(packet.address_at(inner_at + packet.SRC_AT)):
        return False
    return into_tunnel(world, burst, i, row, now_s)


@inlined
def finish(world: World, burst: Burst, group: Group, now_s: np.uint64) -> Group:
    """Write what leaves, note what is left."""
    left, only_port = group.left, group.only_port
    for i in span(group.first, group.end):
        if finish_one(world, burst, i, now_s):
            port = load8(burst.port + i)
            if only_port != port:
                only_port = port if only_port == _NOBODY else _NO_PORT
        else:
            store8(burst.port + i, _NO_PORT)
            store8(burst.verdict + i, _UNDECIDED)
            store64(burst.rest + left * WORD, i)
            left += ONE
    return Group(group.end, group.end, left, only_port)


@inlined
def fetch(world: World, burst: Burst, first: np.uint64) -> None:
    """Have the headers of the group from `first` on fetched."""
    for i in span(first, min(first + _GROUP, burst.size)):
        at = world.frames + load64(burst.at + i * WORD)
        prefetch_to_write(at)
        prefetch_to_write(at - _LINE)
        prefetch_to_write(at + _LINE)


@compiled
def forward(
    world: npt.NDArray[np.uint64],
    columns: npt.NDArray[np.uint64],
    at: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    vlan: np.uint64,
    now_s: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Forward the normal packets of a burst that came by a port of this `vlan`.

    `world` and `columns` are the `numbers` of `Views` and `Columns`. Returns how many frames are
    left to the numpy steps (their rows are in `Columns.rest`), and the port by which all others
    leave: NO_PORT if there are several, meaningless if there are none.
    """
    seen = World(*to_fixed_tuple(world, _WORLD_FIELDS))
    frames = U(at.ctypes.data), U(length.ctypes.data), U(len(at))
    burst = Burst(*frames, *to_fixed_tuple(columns, _COLUMNS))
    group = Group(NONE, NONE, NONE, _NOBODY)
    shared = load32(seen.shared)
    fetch(seen, burst, NONE)
    while group.end < burst.size:
        end = min(group.first + _GROUP, burst.size)
        fetch(seen, burst, end)
        group = Group(group.first, end, group.left, group.only_port)
        admit(seen, burst, group, vlan)
        look_up(seen, burst, group)
        if shared:
            look_up_sets(seen, burst, group)
        group = finish(seen, burst, group, now_s)
    return group.left, group.only_port
