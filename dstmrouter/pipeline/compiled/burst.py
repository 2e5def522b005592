"""The compiled pass over a burst: fetch, admit, look up, finish; no object per packet.

All but the first begin with loads that miss the caches: headers another CPU has written, slots and
rows of a table of 32 MB and more. So they are steps of a pipeline: while the last packet is
finished, the memory that the ones behind it need is on its way, each step having asked for what the
next one loads. Frames of a UMEM start at the same place of their chunks and compete for few lines
of the first cache: 32 KB with 8 ways hold those of 14 packets, two lines each. So headers come near
only 6 packets before they are read; what falls out until they are written is in the second cache,
and costs 0.5 ns. In groups of 16 packets, step by step, the same work takes longer, whether it is
in a cache or not. Rows 6 packets and no more: 4 took 7 ns longer with 60,000 flows to the Internet,
8 took 2 less, and 0.5 more within the caches.

The packets of port sets take the same steps: `rows.slot_of_set` has it from where the address
stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dstmrouter.jit.functions import NONE, ONE, WORD, U, compiled, field_at, inlined, span
from dstmrouter.jit.pointers import (
    load32,
    load64,
    numbers,
    prefetch,
    prefetch_far,
    prefetch_to_write,
    store8,
    store64,
    words,
)
from dstmrouter.pipeline.compiled import packet, refusal
from dstmrouter.pipeline.compiled.departure import (
    DECAPSULATED,
    STAYS,
    Moment,
    finish_one,
    moment_of,
)
from dstmrouter.pipeline.compiled.rows import (
    directory_at,
    division_at,
    row_in,
    slot_of,
    slot_of_set,
)
from dstmrouter.pipeline.compiled.views import CALL, COMING, NO_PORT, Burst, World
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
_FAR, _AHEAD, _DIVIDED, _LOOK_UP, _FINISH = U(24), U(6), U(3), U(6), U(12)
_WORLD_FIELDS: Final = len(World._fields)
_COLUMNS: Final = len(Burst._fields) - COMING
_WORLD, _COLUMNS_AT, _VLAN, _NOW_S, _ONLY_PORT, _OCTETS = (
    field_at(CALL, name) for name in CALL.names or ()
)
_LINE: Final = U(64)  # octets of a cache line
_IPV4: Final = packet.ETHERTYPE_IPV4
_IPV6: Final = packet.ETHERTYPE_IPV6


class Known(NamedTuple):
    """What is known behind the packets that are done."""

    left: np.uint64  # packets left to the numpy steps
    refused: np.uint64  # packets to nobody, which have their verdict
    only_port: np.uint64  # by which all others leave; NO_PORT if there are several


class Guess(NamedTuple):
    """What the first packet of a burst lets us expect of the others, whichever way they go.

    Some fields are the same both ways, and each way has them by itself. With these numbers in the
    steps, or made once for both, the compiler keeps others at hand, and packets from clients take
    1 to 2 ns more.
    """

    behind: np.uint64
    """Where the second cache line of headers is, from the start of a frame."""
    leased_at: np.uint64
    """Where the leased address is, from there, too."""
    fetched: np.uint64
    """How many packets have headers to bring nearer: all."""
    divided: np.uint64
    """How many packets may be for port sets: all, or none if no address is shared."""
    counted: np.uint64
    """How many packets are counted for their clients: all or none."""
    beside: np.uint64
    """Where the third line is that is brought nearer, from the start of a frame: encapsulation
    writes before it, decapsulation needs none."""


@inlined
def admit(world: World, burst: Burst, i: np.uint64, vlan: np.uint64, guessed: Guess) -> None:
    """Judge packet `i` by its headers alone; `row` is the slot of the binding to look up."""
    at = world.frames + load64(burst.at + i * WORD)
    link_len = packet.link_len(at, vlan)
    ip_at, room = at + link_len, load64(burst.length + i * WORD) - link_len
    inner_at, leased, verdict, place = NONE, NONE, UNDECIDED, packet.DST_PORT_AT
    # A frame shorter than its link header has a huge room, and no ethertype of ours: what lies
    # behind it is not looked at.
    if link_len and room >> U(32) == NONE and room >= packet.V4_LEN:
        ethertype = packet.ethertype(ip_at)
        if ethertype == _IPV4 and packet.is_normal(ip_at, room):
            inner_at, verdict = ip_at, _ENCAPSULATED
            leased = packet.address_at(ip_at + packet.DST_AT)
        elif ethertype == _IPV6:
            inner_at, verdict = packet.tunnelled_at(ip_at, room, world), DECAPSULATED
            place = packet.SRC_PORT_AT
            if inner_at:
                leased = packet.address_at(inner_at + packet.SRC_AT)
                prefetch(directory_at(world, packet.address_at(inner_at + packet.DST_AT)))
    slot = slot_of(world, leased)
    if guessed.divided and inner_at:
        slot = slot_of_set(world, slot, inner_at, place)
    if inner_at and world.clamps and packet.opens_connection(inner_at):
        inner_at = NONE
    prefetch(slot)
    store64(burst.inner_at + i * WORD, inner_at)
    store64(burst.row + i * WORD, slot)
    store8(burst.verdict + i, verdict)


@inlined
def look_up(world: World, burst: Burst, i: np.uint64) -> None:
    """Replace the slot in `row` by the row that it names."""
    found = row_in(world, load64(burst.row + i * WORD))
    prefetch(found)
    store64(burst.row + i * WORD, found)


@inlined
def finish(
    world: World, burst: Burst, i: np.uint64, known: Known, moment: Moment, which: np.uint64
) -> Known:
    """Write what leaves, note what is left."""
    left, refused, only_port = known.left, known.refused, known.only_port
    port = finish_one(world, burst, i, moment)
    if port != STAYS:
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
def guess(world: World, burst: Burst, vlan: np.uint64) -> Guess:
    """What the first packet says of the others: a wrong guess costs time, nothing else."""
    link = packet.TAGGED if vlan else packet.UNTAGGED
    ip_at = world.frames + load64(burst.at) + link
    from_client = packet.ethertype(ip_at) == _IPV6
    divided = burst.size if load32(world.shared) else NONE
    if from_client:
        leased_at = link + packet.V6_LEN + packet.SRC_AT
        counted = burst.size if load32(world.counts_usage) else NONE
        return Guess(_LINE, leased_at, burst.size, divided, counted, NONE)
    counted = burst.size if load32(world.counts_usage) else NONE
    return Guess(_LINE, link + packet.DST_AT, burst.size, divided, counted, NONE - _LINE)


@inlined
def fetch(world: World, burst: Burst, i: np.uint64, guessed: Guess) -> None:
    """Have the headers of packet `i` fetched.

    The second line is not the one that encapsulation writes, which stores reach without waiting.
    Fetched here in its place, that one costs 10 ns a packet from memory.
    """
    if i < burst.size:
        at = world.frames + load64(burst.at + i * WORD)
        prefetch_to_write(at)
        prefetch_to_write(at + guessed.behind)


@inlined
def fetch_far(world: World, burst: Burst, i: np.uint64, guessed: Guess) -> None:
    """Have the headers of packet `i` brought nearer.

    A random line of memory takes 8 ns if the first cache asks for it, 5 if the second does, so many
    are on their way at a time. Decapsulation gains 6 ns a packet from memory, encapsulation 11,
    though it has no use for the line behind: probably because lines come in pairs. Without that one
    it gains 6, without the one before 3. Within the caches this costs 1 ns.
    """
    if i < guessed.fetched:
        at = world.frames + load64(burst.at + i * WORD)
        prefetch_far(at)
        prefetch_far(at + _LINE)
        prefetch_far(at + guessed.beside)


@inlined
def fetch_usage(world: World, burst: Burst, i: np.uint64, guessed: Guess) -> None:
    """Have the record of usage of packet `i`, whose row is known, brought nearer.

    With records in no cache, counting then costs 8 % of what is forwarded instead of 16 to 18, if
    headers are brought nearer, too; else most of these fetches come to nothing.
    """
    if i < guessed.counted:
        prefetch_far(load64(burst.row + i * WORD) + world.usage)


@inlined
def fetch_division(world: World, burst: Burst, i: np.uint64, guessed: Guess) -> None:
    """Have fetched how the address of packet `i` is divided, if any address is at all."""
    if i < guessed.divided:
        leased_at = world.frames + load64(burst.at + i * WORD) + guessed.leased_at
        prefetch(division_at(world, slot_of(world, packet.address_at(leased_at))))


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
    seen = World(*numbers(U(world.ctypes.data), _WORLD_FIELDS))
    frames = U(at.ctypes.data), U(length.ctypes.data), U(len(at))
    burst = Burst(*frames, *numbers(U(columns.ctypes.data), _COLUMNS))
    if burst.size == NONE:
        return NONE, _NOBODY
    guessed, which = guess(seen, burst, vlan), load64(burst.refusals + refusal.WHICH)
    known, moment = Known(NONE, NONE, _NOBODY), moment_of(seen, now_s)
    for i in span(NONE, _AHEAD):
        fetch(seen, burst, i, guessed)
    for i in span(_AHEAD, min(_FAR, guessed.fetched)):
        fetch_far(seen, burst, i, guessed)
    for i in span(NONE, burst.size + _FINISH):
        fetch_far(seen, burst, i + _FAR, guessed)
        fetch(seen, burst, i + _AHEAD, guessed)
        fetch_division(seen, burst, i + _DIVIDED, guessed)
        if i < burst.size:
            admit(seen, burst, i, vlan, guessed)
        if i - _LOOK_UP < burst.size:
            look_up(seen, burst, i - _LOOK_UP)
            fetch_usage(seen, burst, i - _LOOK_UP, guessed)
        if i - _FINISH < burst.size:
            known = finish(seen, burst, i - _FINISH, known, moment, which)
    store64(burst.refusals + refusal.COUNT, known.refused)
    return known.left, known.only_port


@compiled
def forward_at(call: int, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> int:
    """As `forward`, for Python: `call` is the address of a record `CALL`, which has the rest.

    Returns how many frames are left to the numpy steps, and leaves the port in the record.
    """
    record = U(call)
    world = words(load64(record + _WORLD), _WORLD_FIELDS)
    columns = words(load64(record + _COLUMNS_AT), _COLUMNS)
    vlan, now_s = load64(record + _VLAN), load64(record + _NOW_S)
    left, only_port = forward(world, columns, at, length, vlan, now_s)
    octets = NONE
    for i in span(NONE, U(len(length))):
        octets += load64(U(length.ctypes.data) + i * WORD)
    store64(record + _ONLY_PORT, only_port)
    store64(record + _OCTETS, octets)
    return int(left)
