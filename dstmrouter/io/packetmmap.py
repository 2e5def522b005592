"""A port over the memory-mapped rings of packet sockets, for interfaces or kernels without XDP.

Received packets are copied from a TPACKET_V3 ring into UMEM frames, and packets to send into the
slots of a TPACKET_V2 ring, so no ring ever holds a frame. Several workers share an interface by
PACKET_FANOUT. See Documentation/networking/packet_mmap.rst.

The programs of `io/steering.py` divide the packets between us and the kernel: one is the filter of
our sockets, the other drops ours on the interface's ingress, which comes after packet sockets.

Packet sockets also get what the kernel has merged (GRO) or not yet cut (GSO of the other end of a
veth pair). Such packets do not fit a frame and are dropped and counted as `too_long`: switch GRO
off on our interface, and TSO and GSO on the other end of a veth pair.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dstmrouter.io.packetconfig import PacketMmapConfig
from dstmrouter.io.packetrx import PacketReceiver
from dstmrouter.io.packettx import PacketSender
from dstmrouter.io.port import RingFill
from dstmrouter.io.ring import require_store_order

if TYPE_CHECKING:
    from dstmrouter.io.umem import Addrs, Descs, Umem

__all__ = ["PacketMmapConfig", "PacketMmapPort"]


class PacketMmapPort:
    """One interface, or one worker's share of it, as a `Port`."""

    def __init__(self, name: str, receiver: PacketReceiver, sender: PacketSender) -> None:
        self.name = name
        self._receiver = receiver
        self._sender = sender

    @classmethod
    def open(cls, interface: str, umem: Umem, config: PacketMmapConfig) -> PacketMmapPort:
        """Open the rings and begin to receive.

        SystemCallError tells what was tried and what the kernel answered. For the few microseconds
        before it joins its fanout group, the port gets packets that others of the group get, too.
        """
        require_store_order()
        with ExitStack() as undo:
            sender = PacketSender.open(interface, umem, config.tx_slots)
            undo.callback(sender.close)
            receiver = PacketReceiver.open(interface, umem, config)
            undo.pop_all()
        return cls(interface, receiver, sender)

    def fileno(self) -> int:
        """File descriptor to poll(2) for received packets; -1 when closed."""
        return self._receiver.fileno()

    def refill_room(self) -> int:
        """How many frames `refill` would take now."""
        return self._receiver.fill.room

    def refill(self, addrs: Addrs) -> int:
        """Hand over as many of `addrs` as fit; the rest stays the caller's."""
        return self._receiver.fill.put(addrs)

    def receive(self, limit: int) -> Descs:
        """Take up to `limit` packets; without frames, they wait in the kernel's ring."""
        return self._receiver.receive(limit)

    def transmit(self, descs: Descs) -> int:
        """Hand over as many of `descs` as fit; the rest stays the caller's."""
        return self._sender.transmit(descs)

    def flush(self) -> None:
        """Make the kernel send what was handed over."""
        self._sender.flush()

    def reclaim(self) -> Addrs:
        """Take back the frames that were handed over for sending."""
        return self._sender.reclaim()

    def held(self) -> RingFill:
        """Frames the port holds: for received packets, and sent ones not yet reclaimed."""
        return RingFill(fill=len(self._receiver.fill), rx=0, tx=0, completion=self._sender.held())

    def use_compiled(self) -> None:
        """Copy packets in compiled code from now on; loading it takes its time."""
        self._receiver.use_compiled()
        self._sender.use_compiled()

    def statistics(self) -> dict[str, int]:
        """Counters of both directions since the port was opened."""
        return self._receiver.statistics() | self._sender.counters

    def close(self) -> None:
        """Release sockets and rings; harmless when repeated."""
        self._receiver.close()
        self._sender.close()
