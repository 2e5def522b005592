"""The rings of an AF_XDP socket and the pool of frames, compiled; `ring` and `umem` define them.

Every function takes addresses: of a record SOCKET, of a record POOL. The order of memory is that
of the kernel's own rings: an index of the other side is observed before entries are touched, and
ours is published behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.ring import U32_MASK
from dstmrouter.io.umem import DESC
from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, address, compiled, field_at, span
from dstmrouter.jit.pointers import load32, load64, observe32, publish32, store64

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dstmrouter.io.umem import FramePool
    from dstmrouter.io.xskrings import Places

RING: Final = np.dtype(
    [(name, "<u8") for name in ("producer", "consumer", "entries", "slots")]  # `ring.RingPlace`
)
SOCKET: Final = np.dtype(
    [
        ("rx", RING),
        ("tx", RING),
        ("fill", RING),
        ("completion", RING),
        ("sent", "<u8"),  # the TX ring's producer, between `open_tx` and `close_tx`
        ("room", "<u8"),  # free entries of the TX ring, likewise
    ]
)
POOL: Final = np.dtype(
    [
        ("stack", "<u8"),
        ("free", "<u8"),  # address of the number of free frames
        ("frames", "<u8"),  # room of the stack
        ("base_mask", "<u8"),  # what is left of an address is that of its chunk
    ]
)
_RX, _TX, _FILL, _COMPLETION, _SENT, _ROOM = (field_at(SOCKET, name) for name in SOCKET.names or ())
_PRODUCER, _CONSUMER, _ENTRIES, _SLOTS = (field_at(RING, name) for name in RING.names or ())
_STACK, _FREE, _FRAMES, _BASE_MASK = (field_at(POOL, name) for name in POOL.names or ())
_DESC_SIZE, _DESC_LEN = U(DESC.itemsize), field_at(DESC, "len")
_MODULO: Final = U(U32_MASK)
SOCKET_SIZE: Final = U(SOCKET.itemsize)


def describe(sockets: Sequence[Places]) -> npt.NDArray[np.void]:
    """Records SOCKET, shape (n,); the rings must outlive them."""
    return np.array([(*map(tuple, places), 0, 0) for places in sockets], SOCKET)


def describe_pool(pool: FramePool) -> npt.NDArray[np.void]:
    """A record POOL, shape (1,), of a pool that must outlive it."""
    mask = ~(pool.chunk_size - 1) & 0xFFFFFFFFFFFFFFFF
    return np.array([(address(pool.stack), address(pool.free), len(pool.stack), mask)], POOL)


@compiled
def _waiting(ring: np.uint64) -> np.uint64:
    """Entries that a consumer may take; what they hold may be read behind this."""
    consumed = load32(load64(ring + _CONSUMER))
    return observe32(load64(ring + _PRODUCER)) - consumed & _MODULO


@compiled
def _room(ring: np.uint64) -> np.uint64:
    """Entries that a producer may write, behind this."""
    consumed = observe32(load64(ring + _CONSUMER))
    return load64(ring + _SLOTS) - (load32(load64(ring + _PRODUCER)) - consumed & _MODULO)


@compiled
def give(pool: np.uint64, frame: np.uint64) -> None:
    """Give a frame back, by any octet inside it; there are never more than there were."""
    free_at = load64(pool + _FREE)
    free = load64(free_at)
    store64(load64(pool + _STACK) + free * WORD, frame & load64(pool + _BASE_MASK))
    store64(free_at, free + ONE)


@compiled
def reclaim(socket: np.uint64, pool: np.uint64) -> None:
    """Take back the frames that have been sent."""
    ring = socket + _COMPLETION
    first, mask = load32(load64(ring + _CONSUMER)), load64(ring + _SLOTS) - ONE
    free_at, entries = load64(pool + _FREE), load64(ring + _ENTRIES)
    free, base_mask = load64(free_at), load64(pool + _BASE_MASK)
    n = min(_waiting(ring), load64(pool + _FRAMES) - free)
    if n == NONE:
        return
    top = load64(pool + _STACK) + free * WORD
    for i in span(NONE, n):
        frame = load64(entries + (first + i & mask) * WORD)
        store64(top + i * WORD, frame & base_mask)
    store64(free_at, free + n)
    publish32(load64(ring + _CONSUMER), first + n)


@compiled
def refill(socket: np.uint64, pool: np.uint64, step: np.uint64) -> None:
    """Fill the fill ring as far as there are frames, unless it has less room than `step`."""
    ring, free_at = socket + _FILL, load64(pool + _FREE)
    room, free = _room(ring), load64(free_at)
    n = min(room, free)
    if room < step or n == NONE:
        return
    first, mask = load32(load64(ring + _PRODUCER)), load64(ring + _SLOTS) - ONE
    entries, bottom = load64(ring + _ENTRIES), load64(pool + _STACK) + (free - n) * WORD
    for i in span(NONE, n):
        store64(entries + (first + i & mask) * WORD, load64(bottom + i * WORD))
    store64(free_at, free - n)
    publish32(load64(ring + _PRODUCER), first + n)


@compiled
def receive(socket: np.uint64, limit: np.uint64, at: np.uint64, length: np.uint64) -> np.uint64:
    """Take up to `limit` received packets into columns of words; return how many."""
    ring = socket + _RX
    n = min(_waiting(ring), limit)
    if n == NONE:
        return n
    first, mask = load32(load64(ring + _CONSUMER)), load64(ring + _SLOTS) - ONE
    entries = load64(ring + _ENTRIES)
    for i in span(NONE, n):
        desc = entries + (first + i & mask) * _DESC_SIZE
        store64(at + i * WORD, load64(desc))
        store64(length + i * WORD, load32(desc + _DESC_LEN))
    publish32(load64(ring + _CONSUMER), first + n)
    return n


@compiled
def open_tx(socket: np.uint64) -> None:
    """See how much the TX ring takes, before the first `send` of a burst."""
    ring = socket + _TX
    store64(socket + _ROOM, _room(ring))
    store64(socket + _SENT, load32(load64(ring + _PRODUCER)))


@compiled
def send(socket: np.uint64, start: np.uint64, length: np.uint64) -> Truth:
    """Describe a packet on the TX ring; False if that is full. `close_tx` hands it over."""
    room = load64(socket + _ROOM)
    if room == NONE:
        return False
    ring, sent = socket + _TX, load64(socket + _SENT)
    slot = sent & load64(ring + _SLOTS) - ONE
    desc = load64(ring + _ENTRIES) + slot * _DESC_SIZE
    store64(desc, start)
    store64(desc + _DESC_LEN, length)  # and no options
    store64(socket + _ROOM, room - ONE)
    store64(socket + _SENT, sent + ONE)
    return True


@compiled
def close_tx(socket: np.uint64) -> None:
    """Hand over what `send` described; it leaves when the kernel is woken."""
    producer, sent = load64(socket + _TX + _PRODUCER), load64(socket + _SENT)
    if load32(producer) != sent & _MODULO:
        publish32(producer, sent)
