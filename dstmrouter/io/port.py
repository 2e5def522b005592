"""What the worker knows of a port: AF_XDP, packet_mmap, memory and pcap ports all are this.

Two words a direction. Frames for reception: `refill` hands them to the port, `receive` hands them
back with a packet inside. Frames to send: `transmit` hands them to the port, `reclaim` hands them
back when they have been sent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dstmrouter.io.umem import Addrs, Descs


@dataclasses.dataclass(frozen=True, slots=True)
class RingFill:
    """Frames that a port holds, by ring; for the ledger."""

    fill: int
    rx: int
    tx: int
    completion: int

    @property
    def total(self) -> int:
        """All frames that the port holds."""
        return self.fill + self.rx + self.tx + self.completion


class Port(Protocol):
    """One queue of one network interface (or a stand-in for it)."""

    name: str

    def fileno(self) -> int:
        """File descriptor to poll(2) for received packets; -1 if there is none."""
        ...

    def refill_room(self) -> int:
        """How many frames `refill` would take now."""
        ...

    def refill(self, addrs: Addrs) -> int:
        """Hand over as many of `addrs` as fit, from the first.

        Return how many. The rest stays the caller's.
        """
        ...

    def receive(self, limit: int) -> Descs:
        """Take up to `limit` received packets.

        Their frames are the caller's. The result is a copy.
        """
        ...

    def transmit(self, descs: Descs) -> int:
        """Hand over as many of `descs` as fit, from the first.

        Return how many. The rest stays the caller's.
        """
        ...

    def flush(self) -> None:
        """Tell the kernel about handed-over frames, if it wants to be told (need_wakeup)."""
        ...

    def reclaim(self) -> Addrs:
        """Take back the frames that have been sent. The result is a copy."""
        ...

    def held(self) -> RingFill:
        """Frames the port holds now, by ring."""
        ...

    def use_compiled(self) -> None:
        """Load compiled code, where the port has some, and use it from now on.

        May be called by another thread than the one that uses the port.
        """
        ...

    def statistics(self) -> dict[str, int]:
        """The kernel's own counters of this port (drops for full rings and the like)."""
        ...

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        ...
