"""A turn over all ports in one compiled call: from ring to ring, without an array in between.

What `daemon.engine` does with numpy calls of half a microsecond each. Frames that the compiled pass
leaves are not touched: the engine gives them to the numpy steps, and does about them what it always
does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dstmrouter.io.compiled import xdpframes, xskrings
from dstmrouter.io.compiled.xskrings import SOCKET_SIZE
from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, compiled, field_at, inlined, span
from dstmrouter.jit.pointers import load8, load32, load64, numbers, store8, store64, words
from dstmrouter.pipeline.compiled import burst, refusal, usage
from dstmrouter.pipeline.compiled.views import COMING, LINK, Burst, World
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

_TX_FULL: Final = U(Verdict.DROP_TX_FULL)
_UNSENT: Final = U(Verdict.UNSENT_ICMPV4)


class Desk(NamedTuple):
    """What a turn works with besides the burst; addresses if not said else."""

    pool: np.uint64  # a record POOL
    sockets: np.uint64  # records SOCKET
    by_port: np.uint64  # for every port the address of its record, which several may share
    packets: np.uint64  # counters of packets of this worker, by verdict
    octets: np.uint64  # and of octets
    verdict: np.uint64  # columns of the burst, as in `views.Burst`
    port: np.uint64
    new_at: np.uint64
    new_length: np.uint64
    sockets_end: np.uint64  # address behind the last record
    ports: np.uint64  # a number
    refill_step: np.uint64  # a number: less room in a fill ring is left alone


CALL: Final = np.dtype(
    [
        (name, "<u8")
        for name in (
            "given",  # addresses: of a `Desk` with `Columns.numbers` behind it
            "world",  # of `Views.numbers`
            "at",  # of columns for a burst
            "length",
            "room",  # packets of a burst
            "flushes",  # of addresses for `xdpframes.flush_line`, one for each interface
            "flushes_end",
            "now_s",
            "rounds",  # at most, and how many there were; more than one only with these flushes
            "first",  # port
            "end",  # the port behind the last one, before a turn and after it
            "size",  # packets that the last port has received
            "left",  # how many of them are left to the numpy steps
        )
    ]
)
"""A turn's arguments and results; to give arrays to compiled code takes half a microsecond."""
_GIVEN, _WORLD, _AT, _LENGTH, _ROOM, _FLUSHES, _FLUSHES_END, *_numbers = (
    field_at(CALL, name) for name in CALL.names or ()
)
_NOW_S, _ROUNDS, _FIRST, _END, _SIZE, _LEFT = _numbers
_DESK_FIELDS: Final = len(Desk._fields)
_BEHIND_DESK: Final = U(_DESK_FIELDS * 8)  # octets
_COLUMNS: Final = len(Burst._fields) - COMING
_GIVEN_LEN, _WORLD_LEN = _DESK_FIELDS + _COLUMNS, len(World._fields)
_REFUSALS: Final = _DESK_FIELDS + Burst._fields.index("refusals") - COMING
_LINKS, _FRAMES, _USAGE, _COUNTS_USAGE = (
    World._fields.index(name) for name in ("links", "frames", "usage", "counts_usage")
)
_LINK_SIZE, _VLAN_AT = U(LINK.itemsize), field_at(LINK, "vlan")


@compiled
def add(desk: Desk, verdict: np.uint64, packets: np.uint64, octets: np.uint64) -> None:
    """Count packets of one verdict; nothing if there are none."""
    if packets:
        place = verdict * WORD
        store64(desk.packets + place, load64(desk.packets + place) + packets)
        store64(desk.octets + place, load64(desk.octets + place) + octets)


@compiled
def keep_one(desk: Desk, i: np.uint64, at: np.uint64, length: np.uint64) -> None:
    """Give frame `i` back, which does not leave, unless the steps are to see it; count it."""
    verdict = load8(desk.verdict + i)
    if verdict != burst.UNDECIDED:
        xskrings.give(desk.pool, load64(at + i * WORD))
        add(desk, verdict, ONE, load64(length + i * WORD))


@compiled
def send_one(desk: Desk, i: np.uint64, at: np.uint64, port: np.uint64) -> np.uint64:
    """Put frame `i` on the ring of `port`, or give it back where that is full; its verdict."""
    start, size = load64(desk.new_at + i * WORD), load64(desk.new_length + i * WORD)
    if xskrings.send(load64(desk.by_port + port * WORD), start, size):
        return load8(desk.verdict + i)
    xskrings.give(desk.pool, load64(at + i * WORD))
    store8(desk.verdict + i, _TX_FULL)
    return _TX_FULL


@compiled
def send_all(desk: Desk, at: np.uint64, length: np.uint64, size: np.uint64) -> None:
    """Send what the pass has written, and count it: a run of one verdict at a time.

    What does not leave is counted by itself: to end a run for one in a hundred costs 50 ns more.
    """
    socket = desk.sockets
    while socket < desk.sockets_end:
        xskrings.open_tx(socket)
        socket += SOCKET_SIZE
    counting, packets, octets = NONE, NONE, NONE
    for i in span(NONE, size):
        port = load8(desk.port + i)
        if port >= desk.ports:
            keep_one(desk, i, at, length)
            continue
        verdict = send_one(desk, i, at, port)
        if verdict != counting:
            add(desk, counting, packets, octets)
            counting, packets, octets = verdict, NONE, NONE
        packets += ONE
        octets += load64(length + i * WORD)
    add(desk, counting, packets, octets)
    socket = desk.sockets
    while socket < desk.sockets_end:
        xskrings.close_tx(socket)
        socket += SOCKET_SIZE


@compiled
def work(
    given: npt.NDArray[np.uint64],
    world: npt.NDArray[np.uint64],
    at: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    port: np.uint64,
    now_s: np.uint64,
) -> np.uint64:
    """Forward, send and count the packets `at` and `length` that came in by `port`.

    `given` are a `Desk` and `Columns.numbers`, the others are as in `burst.forward`. Returns how
    many frames are left to the numpy steps (their rows are in `Columns.rest`).
    """
    vlan = load64(world[_LINKS] + port * _LINK_SIZE + _VLAN_AT)
    left, _ = burst.forward(world, given[_DESK_FIELDS:], at, length, vlan, now_s)
    if left != U(len(at)):
        desk = Desk(*numbers(U(given.ctypes.data), _DESK_FIELDS))
        send_all(desk, U(at.ctypes.data), U(length.ctypes.data), U(len(at)))
        refusals = given[_REFUSALS]
        if load64(refusals + refusal.UNSENT):
            add(desk, _UNSENT, load64(refusals + refusal.COUNT), NONE)
        if load32(world[_COUNTS_USAGE]):
            columns = numbers(U(given.ctypes.data) + _BEHIND_DESK, _COLUMNS)
            sent = Burst(NONE, NONE, U(len(at)), *columns)
            usage.charge(world[_FRAMES], world[_USAGE], sent, desk.verdict)
    return left


class Served(NamedTuple):
    """What one round over the ports has come to."""

    received: np.uint64  # packets
    size: np.uint64  # of them by the last port
    left: np.uint64  # of these, how many are left to the numpy steps
    end: np.uint64  # the port behind the last one


@inlined
def serve(record: np.uint64, desk: Desk) -> Served:
    """Take back, refill and receive for one port after the other, then `work`.

    A port that leaves frames to the numpy steps is the last in any case.
    """
    given = words(load64(record + _GIVEN), _GIVEN_LEN)
    world = words(load64(record + _WORLD), _WORLD_LEN)
    at, length, room = load64(record + _AT), load64(record + _LENGTH), load64(record + _ROOM)
    starts, lengths = words(at, room).view(np.int64), words(length, room).view(np.int64)
    received, size, end = NONE, NONE, load64(record + _END)
    for port in span(load64(record + _FIRST), end):
        socket = load64(desk.by_port + port * WORD)
        xskrings.reclaim(socket, desk.pool)
        xskrings.refill(socket, desk.pool, desk.refill_step)
        size = xskrings.receive(socket, room, at, length)
        if size:
            received += size
            left = work(given, world, starts[:size], lengths[:size], port, load64(record + _NOW_S))
            if left:
                return Served(received, size, left, port + ONE)
    return Served(received, size, NONE, end)


@compiled
def flush_all(record: np.uint64) -> Truth:
    """Flush all ports; False if there is more to do for one of them."""
    place = load64(record + _FLUSHES)
    while place < load64(record + _FLUSHES_END):
        if not xdpframes.flush_line(load64(place)):
            return False
        place += WORD
    return True


@compiled
def turn(call: int) -> int:
    """Serve the ports; while packets come and none is left, flush them and serve them again.

    `call` is the address of a record CALL. Returns how many packets were received.
    """
    record = U(call)
    desk = Desk(*numbers(load64(record + _GIVEN), _DESK_FIELDS))
    rounds, received = load64(record + _ROUNDS), NONE
    last, done = Served(NONE, NONE, NONE, load64(record + _END)), NONE
    while done < rounds and (done == NONE or flush_all(record)):
        last = serve(record, desk)
        received += last.received
        done += ONE
        if last.left or last.received == NONE:
            break
    store64(record + _ROUNDS, done)
    store64(record + _END, last.end)
    store64(record + _SIZE, last.size)
    store64(record + _LEFT, last.left)
    return int(received)
