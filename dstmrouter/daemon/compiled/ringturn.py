"""The compiled turn as the engine has it: one object for all ports of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.daemon.compiled.turn import CALL, Desk, turn, work
from dstmrouter.daemon.compiled.waiting import Waiting
from dstmrouter.daemon.engine import REFILL_STEP
from dstmrouter.io.compiled import xskrings
from dstmrouter.io.ring import RingPlace
from dstmrouter.io.taggedport import TagPort
from dstmrouter.io.umem import CHUNK_SIZES, FramePool
from dstmrouter.io.xskrings import Places, XskRings
from dstmrouter.jit.functions import U, address
from dstmrouter.pipeline.compiled.views import Columns
from dstmrouter.pipeline.limits import TICKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dstmrouter.daemon.engine import Engine
    from dstmrouter.io.port import Port
    from dstmrouter.pipeline.compiled.forward import CompiledForwarder
    from dstmrouter.pipeline.forward import Forwarder

BURST: Final = 512  # frames: fewer stay warmer, but 128 cost 5 % of what is forwarded over veth
ROUNDS: Final = 8  # of a turn: 0.5 ms at most, in which a worker sees to nothing else
_EACH_TURN: Final = "now_s", "rounds", "first", "end", "size", "left"  # of CALL, given or found


def ring_turn(engine: Engine, forwarder: CompiledForwarder) -> RingTurn | None:
    """A compiled turn over the rings of an engine's ports; None if one has no such rings.

    There must be no filters in front of `forwarder`.
    """
    if None in map(_rings_of, engine.ports):
        return None
    counters = engine.counters.values[engine.worker]
    return RingTurn(forwarder, engine.umem.pool, engine.ports, counters)


def _rings_of(port: Port) -> XskRings | None:
    below = port.interface if isinstance(port, TagPort) else port
    return below if isinstance(below, XskRings) else None


class RingTurn:
    """Takes turns over `ports`, all ports of one worker, which have the rings of AF_XDP sockets.

    Ports, pool and counters must outlive it; `counters` has shape (2, verdicts). It may be made by
    another thread than the one that uses it, while all of them are in use.
    """

    def __init__(
        self,
        forwarder: CompiledForwarder,
        pool: FramePool,
        ports: Sequence[Port],
        counters: npt.NDArray[np.uint64],
    ) -> None:
        self.steps: Forwarder = forwarder.steps
        self._forwarder = forwarder
        self._tagged = [port if isinstance(port, TagPort) else None for port in ports]
        self._columns = Columns(BURST)
        self._frames = np.zeros((2, BURST), np.int64)
        self._at, self._length = self._frames
        self._some_tagged = any(self._tagged)
        self._ports = len(ports)
        self._some_wait = False
        self._tick, self._due = -1, 0
        self._waiting = [Waiting(BURST) for _ in ports]
        rings = [each for each in map(_rings_of, ports) if each is not None]
        own = list(dict.fromkeys(rings))  # each once, also if several ports share it
        self._sockets = xskrings.describe([each.places() for each in own])
        self._pool = xskrings.describe_pool(pool)
        first, size = address(self._sockets), U(self._sockets.itemsize)
        self._by_port = np.array([first + U(own.index(each)) * size for each in rings], np.uint64)
        self._kept = pool, counters
        desk = self._desk(counters)
        self._numbers = np.array([*desk, *self._columns.numbers], np.uint64)
        self._flushes = np.array([each.flush_place for each in own], np.uint64)
        self._rounds_max = ROUNDS if self._flushes.all() else 1
        self._call = self._calling(self._numbers)
        self._place = int(address(self._call))
        self._now_s, self._rounds, self._first, self._end, self._size, self._left = (
            self._call[name].data for name in _EACH_TURN
        )
        self._load(desk)

    def turn(self, first: int, now_s: float, rounds: int) -> tuple[int, int, int]:
        """As `daemon.engine.Handover`."""
        self._forwarder.follow_ports()
        self._look_at(now_s)
        if self._some_tagged and (tagged := self._tagged[first]) is not None:
            received, left = self._turn_tagged(tagged, first)
            size, following, self._rounds[0] = received, first + 1, 1
        else:
            alone = self._some_wait or self._some_tagged
            self._first[0] = first
            self._end[0] = following = first + 1 if alone else self._ports
            self._rounds[0] = 1 if alone or first else min(rounds, self._rounds_max)
            received, left = turn(self._place), self._left[0]
            if left:
                following = self._end[0]
            size = self._size[0]
        if not left and not self._some_wait:
            return received, 0, following
        return received, self._keep(following - 1, left, size), following

    @property
    def rounds(self) -> int:
        """As `daemon.engine.Handover`."""
        return self._rounds[0]

    def _keep(self, port: int, left: int, received: int) -> int:
        """Have frames that a port has left wait for others, unless it is time to take them."""
        self._due = self._waiting[port].add(self._frames[:, self._columns.rest[:left]], received)
        self._some_wait = self.held() > 0
        return self._due

    def _look_at(self, now_s: float) -> None:
        """See what time it is, and whether errors about packets to nobody can be sent."""
        tick = int(now_s * TICKS)
        if tick != self._tick or self._due:  # the steps have seen some of them
            self._tick, self._due = tick, 0
            self._now_s[0] = int(now_s)
            self._columns.refuse(self.steps.unbound(now_s))

    def rest(self, port: int) -> npt.NDArray[np.int64]:
        """Where frames that a port left start, and their lengths: a copy, shape (2, n)."""
        taken = self._waiting[port].take()
        self._some_wait = self.held() > 0
        return taken

    def held(self) -> int:
        """How many frames wait for `rest`."""
        return sum(waiting.size for waiting in self._waiting)

    def _turn_tagged(self, port: TagPort, number: int) -> tuple[int, int]:
        """The same for a port that shares its interface: `TagPort` parts what comes in."""
        if port.first:
            pool = address(self._pool)
            xskrings.reclaim(self._by_port[number], pool)
            xskrings.refill(self._by_port[number], pool, U(REFILL_STEP))
        descs = port.receive(BURST)
        size = len(descs)
        if not size:
            return 0, 0
        at, length = self._frames[:, :size]
        at[:], length[:] = descs["addr"], descs["len"]
        world = self._forwarder.world
        left = work(self._numbers, world, at, length, U(number), U(self._now_s[0]))
        return size, int(left)

    def _desk(self, counters: npt.NDArray[np.uint64]) -> Desk:
        columns, sockets = self._columns, self._sockets
        results = columns.verdict, columns.port, columns.new_at, columns.new_length
        arrays = self._pool, sockets, self._by_port, counters[0], counters[1], *results
        end = address(sockets) + U(sockets.nbytes)
        numbers = end, U(len(self._by_port)), U(REFILL_STEP)
        return Desk(*[*map(address, arrays), *numbers])

    def _calling(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
        """A record CALL for no ports."""
        arrays = numbers, self._forwarder.world, self._at, self._length
        flushes = address(self._flushes)
        known = *map(address, arrays), BURST, flushes, flushes + U(self._flushes.nbytes)
        return np.array([known + (0,) * len(_EACH_TURN)], CALL)

    def _load(self, desk: Desk) -> None:
        """Load the code, with rings of nobody's: the others may be in use meanwhile."""
        index, pool = np.zeros(1, np.uint32), FramePool(1, CHUNK_SIZES[0])
        at = int(address(index))
        place = RingPlace(producer=at, consumer=at, entries=0, slots=0)
        sockets = xskrings.describe([Places(place, place, place, place)])
        record = xskrings.describe_pool(pool)
        by_port = np.array([address(sockets)], np.uint64)
        desk = desk._replace(pool=address(record), by_port=address(by_port))
        numbers = np.array([*desk, *self._columns.numbers], np.uint64)
        call = self._calling(numbers)
        call["rounds"] = 1
        turn(int(address(call)))
