"""One port's part of a turn in one compiled call: from ring to ring, without an array in between.

What `daemon.engine` does with numpy calls of half a microsecond each. Frames that the compiled pass
leaves are not touched: the engine gives them to the numpy steps, and does about them what it always
does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from dstmrouter.daemon.engine import BURST, REFILL_STEP
from dstmrouter.io.compiled import xskrings
from dstmrouter.io.compiled.xskrings import SOCKET_SIZE
from dstmrouter.io.ring import RingPlace
from dstmrouter.io.umem import CHUNK_SIZES, FramePool
from dstmrouter.io.xskrings import Places, XskRings
from dstmrouter.jit.functions import NONE, ONE, WORD, U, address, compiled, field_at, span
from dstmrouter.jit.pointers import load8, load64, store8, store64
from dstmrouter.pipeline.compiled import burst
from dstmrouter.pipeline.compiled.views import LINK, Columns, World
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dstmrouter.daemon.engine import Engine
    from dstmrouter.pipeline.compiled.forward import CompiledForwarder
    from dstmrouter.pipeline.forward import Forwarder

_TX_FULL: Final = U(Verdict.DROP_TX_FULL)
_NO_VERDICT: Final = U(len(Verdict))


class Desk(NamedTuple):
    """What a turn works with besides the burst; addresses if not said else."""

    pool: np.uint64  # a record POOL
    sockets: np.uint64  # a record SOCKET for every port
    packets: np.uint64  # counters of packets of this worker, by verdict
    octets: np.uint64  # and of octets
    verdict: np.uint64  # columns of the burst, as in `views.Burst`
    port: np.uint64
    new_at: np.uint64
    new_length: np.uint64
    ports: np.uint64  # a number
    refill_step: np.uint64  # a number: less room in a fill ring is left alone


_DESK_FIELDS: Final = len(Desk._fields)
_LINKS: Final = World._fields.index("links")
_LINK_SIZE, _VLAN_AT = U(LINK.itemsize), field_at(LINK, "vlan")


@compiled
def add(desk: Desk, verdict: np.uint64, packets: np.uint64, octets: np.uint64) -> None:
    """Count packets of one verdict; nothing if there are none."""
    if packets:
        place = verdict * WORD
        store64(desk.packets + place, load64(desk.packets + place) + packets)
        store64(desk.octets + place, load64(desk.octets + place) + octets)


@compiled
def send_one(desk: Desk, i: np.uint64, at: np.uint64) -> np.uint64:
    """Put frame `i` on the ring of its port, or give it back; its verdict.

    _NO_VERDICT if it was left to the numpy steps.
    """
    port = load8(desk.port + i)
    if port >= desk.ports:
        return _NO_VERDICT
    start, size = load64(desk.new_at + i * WORD), load64(desk.new_length + i * WORD)
    if xskrings.send(desk.sockets + port * SOCKET_SIZE, start, size):
        return load8(desk.verdict + i)
    xskrings.give(desk.pool, load64(at + i * WORD))
    store8(desk.verdict + i, _TX_FULL)
    return _TX_FULL


@compiled
def send_all(desk: Desk, at: np.uint64, length: np.uint64, size: np.uint64) -> None:
    """Send what the pass has written, and count it: a run of one verdict at a time."""
    for port in span(NONE, desk.ports):
        xskrings.open_tx(desk.sockets + port * SOCKET_SIZE)
    counting, packets, octets = NONE, NONE, NONE
    for i in span(NONE, size):
        verdict = send_one(desk, i, at)
        if verdict != counting:
            if verdict == _NO_VERDICT:
                continue
            add(desk, counting, packets, octets)
            counting, packets, octets = verdict, NONE, NONE
        packets += ONE
        octets += load64(length + i * WORD)
    add(desk, counting, packets, octets)
    for port in span(NONE, desk.ports):
        xskrings.close_tx(desk.sockets + port * SOCKET_SIZE)


@compiled
def turn(
    desk_numbers: npt.NDArray[np.uint64],
    world: npt.NDArray[np.uint64],
    columns: npt.NDArray[np.uint64],
    frames: npt.NDArray[np.int64],
    port: np.uint64,
    now_s: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Take back, refill, receive, forward, send, count for one port.

    `world` and `columns` are those of `burst.forward`; `frames` has shape (2, n): where frames
    start and their lengths, room for n of them. Returns how many were received, and how many of
    them are left to the numpy steps (their rows are in `Columns.rest`).
    """
    desk = Desk(*to_fixed_tuple(desk_numbers, _DESK_FIELDS))
    socket = desk.sockets + port * SOCKET_SIZE
    xskrings.reclaim(socket, desk.pool)
    xskrings.refill(socket, desk.pool, desk.refill_step)
    at, length = frames[0], frames[1]
    at_place, length_place = U(at.ctypes.data), U(length.ctypes.data)
    size = xskrings.receive(socket, U(len(at)), at_place, length_place)
    if size == NONE:
        return NONE, NONE
    vlan = load64(world[_LINKS] + port * _LINK_SIZE + _VLAN_AT)
    left, _ = burst.forward(world, columns, at[:size], length[:size], vlan, now_s)
    if left != size:
        send_all(desk, at_place, length_place, size)
    return size, left


def ring_turn(engine: Engine, forwarder: CompiledForwarder) -> RingTurn | None:
    """A compiled turn over the rings of an engine's ports; None if one has no such rings.

    There must be no filters in front of `forwarder`.
    """
    rings = [port for port in engine.ports if isinstance(port, XskRings)]
    if len(rings) < len(engine.ports):
        return None
    counters = engine.counters.values[engine.worker]
    places = [each.places() for each in rings]
    return RingTurn(forwarder, engine.umem.pool, places, counters)


class RingTurn:
    """Takes turns over `places`, the rings of the ports of one worker, in their order.

    Rings, pool and counters must outlive it; `counters` has shape (2, verdicts). It may be made by
    another thread than the one that uses it, while all of them are in use.
    """

    def __init__(
        self,
        forwarder: CompiledForwarder,
        pool: FramePool,
        places: Sequence[Places],
        counters: npt.NDArray[np.uint64],
        burst: int = BURST,
    ) -> None:
        self.steps: Forwarder = forwarder.steps
        self._forwarder = forwarder
        self._columns = columns = Columns(burst)
        self._frames = np.zeros((2, burst), np.int64)
        self._sockets, self._pool = xskrings.describe(places), xskrings.describe_pool(pool)
        self._kept = pool, counters
        results = columns.verdict, columns.port, columns.new_at, columns.new_length
        arrays = self._pool, self._sockets, counters[0], counters[1], *results
        numbers = U(len(places)), U(REFILL_STEP)
        desk = Desk(*[*map(address, arrays), *numbers])
        self._desk = np.array(desk, np.uint64)
        self._load(desk)

    def turn(self, port: int, now_s: int) -> tuple[int, int]:
        """Give a port one burst of work; how many packets came, and how many are in `rest`."""
        self._forwarder.follow_ports()
        return self._take_turn(self._desk, U(port), U(now_s))

    def rest(self, left: int) -> npt.NDArray[np.int64]:
        """Where the frames that are left start, and their lengths: a copy, shape (2, left)."""
        return self._frames[:, self._columns.rest[:left]]

    def _load(self, desk: Desk) -> None:
        """Load the code, with rings of nobody's: the others may be in use meanwhile."""
        index, pool = np.zeros(1, np.uint32), FramePool(1, CHUNK_SIZES[0])
        at = int(address(index))
        place = RingPlace(producer=at, consumer=at, entries=0, slots=0)
        sockets = xskrings.describe([Places(place, place, place, place)])
        record = xskrings.describe_pool(pool)
        desk = desk._replace(sockets=address(sockets), pool=address(record))
        self._take_turn(np.array(desk, np.uint64), NONE, NONE)

    def _take_turn(
        self, desk: npt.NDArray[np.uint64], port: np.uint64, now_s: np.uint64
    ) -> tuple[int, int]:
        world, columns = self._forwarder.world, self._columns.numbers
        received, left = turn(desk, world, columns, self._frames, port, now_s)
        return int(received), int(left)
