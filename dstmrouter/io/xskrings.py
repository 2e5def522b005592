"""What an AF_XDP socket does with frames: four rings, two of them handed over, two coming back.

Where the frames are. The kernel keeps some that are on no ring (taken from the fill ring and not
yet filled; sent and not yet completed), so `held` does not count rings but what was handed over and
has not come back: what was produced on one ring and not yet on the other. A TX descriptor must lie
inside one chunk: the kernel counts any other in `tx_invalid_descs` and never gives its frame back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dstmrouter.io.port import RingFill
from dstmrouter.io.ring import U32_MASK

if TYPE_CHECKING:
    from dstmrouter.io.ring import ConsumerRing, ProducerRing, RingPlace
    from dstmrouter.io.umem import Addrs, Descs


class Rings(NamedTuple):
    """The four rings of a socket, all begun at the same index."""

    rx: ConsumerRing
    tx: ProducerRing
    fill: ProducerRing
    completion: ConsumerRing


class Places(NamedTuple):
    """Where compiled code finds them, as long as they are not closed."""

    rx: RingPlace
    tx: RingPlace
    fill: RingPlace
    completion: RingPlace


class XskRings:
    """The part of a `Port` that is its rings; the methods are those of `io.port.Port`."""

    flush_place = 0
    """Where compiled code finds what it flushes the port with; 0 if it cannot."""

    def __init__(self, rings: Rings) -> None:
        self.rings = rings

    def refill_room(self) -> int:
        """How many frames `refill` would take now."""
        return self.rings.fill.room()

    def refill(self, addrs: Addrs) -> int:
        """Hand over frames to receive into; return how many, the rest stays the caller's."""
        return self.rings.fill.submit(addrs)

    def receive(self, limit: int) -> Descs:
        """Take up to `limit` received packets; their frames are the caller's."""
        return self.rings.rx.take(limit)

    def transmit(self, descs: Descs) -> int:
        """Hand over frames to send; return how many, the rest stays the caller's.

        They leave with the next `flush`.
        """
        return self.rings.tx.submit(descs)

    def reclaim(self) -> Addrs:
        """Take back the frames that have been sent."""
        return self.rings.completion.take(self.rings.completion.slots)

    def held(self) -> RingFill:
        """Frames handed over and not come back; what is on no ring counts as fill or tx."""
        rx, tx, fill, completion = self.rings
        received, completed = rx.produced, completion.produced  # the kernel goes on meanwhile
        return RingFill(
            fill=(fill.produced - received) & U32_MASK,
            rx=(received - rx.consumed) & U32_MASK,
            tx=(tx.produced - completed) & U32_MASK,
            completion=(completed - completion.consumed) & U32_MASK,
        )

    def places(self) -> Places:
        """Where the rings are in memory."""
        return Places(*[ring.place() for ring in self.rings])
