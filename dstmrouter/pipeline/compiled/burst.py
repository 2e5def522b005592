"""The compiled pass over a burst: fetch, admit, look up, finish; no object per packet.

All but the first begin with loads that miss the caches: headers another CPU has written, slots and
rows of a table of 32 MB and more. So they are steps of a pipeline: while the last packet is
finished, the memory that the ones behind it need is on its way, each step having asked for what the
next one loads. The distances are as short as memory allows, because frames of a UMEM start at the
same place of their chunks and compete for few lines of the first cache: of 14 packets, two lines
each, 32 KB with 8 ways hold all. In groups of 16 packets, step by step, the same work took 98 to
105 ns a packet where nothing is in a cache, in this order 63 to 66; within the caches it is 2 ns
more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from numba.np.unsafe.ndarray import to_fixed_tuple

from dstmrouter.jit.functions import NONE, ONE, WORD, U, compiled, inlined, span
from dstmrouter.jit.pointers import (
    load8,
    load32,
    load64,
    prefetch,
    prefetch_to_write,
    store8,
    store64,
    words,
)
from dstmrouter.pipeline.compiled import packet, refusal
from dstmrouter.pipeline.compiled.departure import (
    DECAPSULATED,
    KIND_AT,
    SHARED,
    finish_one,
)
from dstmrouter.pipeline.compiled.rows import row_in, row_of_set, slot_of
from dstmrouter.pipeline.compiled.views import COMING, NO_PORT, Burst, World
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_ENCAPSULATED: Final = U(Verdict.ENCAPSULATED)
_DROP_NO_BINDING: Final = U(Verdict.DROP_NO_BINDING)
UNDECIDED: Final = U(0)
_NO_PORT: Final = U(NO_PORT)
_NOBODY: Final = U(0xFFFF)  # no port yet
# Packets: how far before its admission a header is fetched, how far behind it the others come.
_AHEAD, _LOOK_UP, _LOOK_UP_SET, _FINISH = U(6), U(4), U(6), U(8)
_WORLD_FIELDS: Final = len(World._fields)
_COLUMNS: Final = len(Burst._fields) - COMING
_LINE: Final = U(64)  # octets of a cache line
_IPV4: Final = packet.ETHERTYPE_IPV4
_IPV6: Final = packet.ETHERTYPE_IPV6


class Known(NamedTuple):
    """What is known behind the packets that are done."""

    left: np.uint64  # packets left to the numpy steps
    refused: np.uint64  # packets to nobody, which have their verdict
    only_port: np.uint64  # by which all others leave; NO_PORT if there are several


@inlined
def admit(world: World, burst: Burst, i: np.uint64, vlan: np.uint64) -> None:
    """Judge packet `i` by its headers alone; `row` is the slot of the address to look up."""
    at = world.frames + load64(burst.at + i * WORD)
    link_len = packet.link_len(at, vlan)
    ip_at, room = at + link_len, load64(burst.length + i * WORD) - link_len
    inner_at, leased, verdict = NONE, NONE, UNDECIDED
    # A frame shorter than its link header has a huge room, and no ethertype of ours: what lies
    # behind it is not looked at.
    if link_len and room >> U(32) == NONE and room >= packet.V4_LEN:
        ethertype = packet.ethertype(ip_at)
        if ethertype == _IPV4 and packet.is_normal(ip_at, room):
            inner_at, verdict = ip_at, _ENCAPSULATED
            leased = packet.address_at(ip_at + packet.DST_AT)
        elif ethertype == _IPV6:
            inner_at, verdict = packet.tunnelled_at(ip_at, room, world), DECAPSULATED
            leased = packet.address_at(inner_at + packet.SRC_AT) if inner_at else NONE
    if inner_at and world.clamps and packet.opens_connection(inner_at):
        inner_at = NONE
    slot = slot_of(world, leased)
    prefetch(slot)
    store64(burst.inner_at + i * WORD, inner_at)
    store64(burst.row + i * WORD, slot)
    store8(burst.verdict + i, verdict)


@inlined
def look_up(world: World, burst: Burst, i: np.uint64) -> None:
    """Replace the slot in `row` by the row that it names."""
    row = row_in(world, load64(burst.row + i * WORD))
    prefetch(row)
    store64(burst.row + i * WORD, row)


@inlined
def look_up_set(world: World, burst: Burst, i: np.uint64) -> None:
    """Replace the row of a shared address by that of a port set."""
    row = load64(burst.row + i * WORD)
    if load8(row + KIND_AT) == SHARED:
        from_client = load8(burst.verdict + i) == DECAPSULATED
        place = packet.SRC_PORT_AT if from_client else packet.DST_PORT_AT
        row = row_of_set(world, row, load64(burst.inner_at + i * WORD), place)
        prefetch(row)
        store64(burst.row + i * WORD, row)


@inlined
def look_up_both(world: World, burst: Burst, i: np.uint64, shared: np.uint64) -> None:
    """Look up the packets whose turn it is when packet `i` is admitted."""
    if i - _LOOK_UP < burst.size:
        look_up(world, burst, i - _LOOK_UP)
    if shared and i - _LOOK_UP_SET < burst.size:
        look_up_set(world, burst, i - _LOOK_UP_SET)


@inlined
def finish(
    world: World, burst: Burst, i: np.uint64, known: Known, now_s: np.uint64, which: np.uint64
) -> Known:
    """Write what leaves, note what is left."""
    left, refused, only_port = known.left, known.refused, known.only_port
    if finish_one(world, burst, i, now_s):
        port = load8(burst.port + i)
        if only_port != port:
            only_port = port if only_port == _NOBODY else _NO_PORT
        return Known(left, refused, only_port)
    store8(burst.port + i, _NO_PORT)
    if which and refusal.is_refused(burst, i, which):
        store8(burst.verdict + i, _DROP_NO_BINDING)
        return Known(left, refused + ONE, only_port)
    store8(burst.verdict + i, UNDECIDED)
    store64(burst.rest + left * WORD, i)
    return Known(left + ONE, refused, only_port)


@inlined
def fetch(world: World, burst: Burst, i: np.uint64, beside: np.uint64) -> None:
    """Have the headers of packet `i` fetched; `beside` is from `second_line`."""
    at = world.frames + load64(burst.at + i * WORD)
    prefetch_to_write(at)
    prefetch_to_write(at + beside)


@inlined
def second_line(world: World, burst: Burst) -> np.uint64:
    """Where the other cache line of headers is that a packet needs, from the start of its frame.

    Encapsulation writes before it, decapsulation reads behind it. Guessed by the first packet: a
    wrong guess costs time, nothing else.
    """
    at = world.frames + load64(burst.at)
    return _LINE if packet.ethertype(at + packet.UNTAGGED) == _IPV6 else NONE - _LINE


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
    left to the numpy steps (their rows are in `Columns.rest`), and the port by which all that leave
    do so: NO_PORT if there are several, meaningless if there are none.
    """
    seen = World(*to_fixed_tuple(world, _WORLD_FIELDS))
    frames = U(at.ctypes.data), U(length.ctypes.data), U(len(at))
    burst = Burst(*frames, *to_fixed_tuple(columns, _COLUMNS))
    if burst.size == NONE:
        return NONE, _NOBODY
    beside = second_line(seen, burst)
    shared, which = load32(seen.shared), load64(burst.refusals + refusal.WHICH)
    known = Known(NONE, NONE, _NOBODY)
    for i in span(NONE, min(_AHEAD, burst.size)):
        fetch(seen, burst, i, beside)
    for i in span(NONE, burst.size + _FINISH):
        if i + _AHEAD < burst.size:
            fetch(seen, burst, i + _AHEAD, beside)
        if i < burst.size:
            admit(seen, burst, i, vlan)
        look_up_both(seen, burst, i, shared)
        if i - _FINISH < burst.size:
            known = finish(seen, burst, i - _FINISH, known, now_s, which)
    store64(burst.refusals + refusal.COUNT, known.refused)
    return known.left, known.only_port


@compiled
def forward_at(
    world: int,
    columns: int,
    at: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    vlan: int,
    now_s: int,
) -> tuple[int, int]:
    """As `forward`, with the addresses of the two arrays; for Python, to which it is cheaper."""
    seen, burst = words(U(world), _WORLD_FIELDS), words(U(columns), _COLUMNS)
    left, only_port = forward(seen, burst, at, length, U(vlan), U(now_s))
    return int(left), int(only_port)
