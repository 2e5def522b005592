"""The sending half of a packet_mmap port: from UMEM frames into the kernel's slots.

Measured with 64-octet packets over veth: nine tenths of the time is the kernel's send.
"""

from __future__ import annotations

import errno
import socket as sockets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.errors import SystemCallError
from dstmrouter.io import uapi_packet as uapi
from dstmrouter.io.packetconfig import TX_SLOTS_PER_BLOCK
from dstmrouter.io.packetsocket import PacketSocket
from dstmrouter.io.slotring import SlotRing
from dstmrouter.io.uapi import SO_SNDBUFFORCE

if TYPE_CHECKING:
    import mmap

    from dstmrouter.io.umem import Addrs, Descs, Umem

# What send(2) answers when the device's queue is full, and when the interface is down or gone. The
# packets wait in their slots, and `transmit` takes no more when all slots are full.
_CONGESTED: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
# A device may also refuse a packet for good (too long for the other end of a veth pair), with the
# same answer. It would keep all others waiting.
_REFUSALS_MAX: Final = 3
_DOWN: Final = frozenset({errno.ENETDOWN, errno.ENXIO, errno.ENODEV})


class PacketSender:
    """A sending socket, its ring, and the frames that have been copied into it (`sent`)."""

    def __init__(self, socket: PacketSocket, ring: mmap.mmap, umem: Umem) -> None:
        names = ("tx_full", "tx_too_long", "tx_congested", "tx_refused", "tx_down")
        self.counters = dict.fromkeys(names, 0)
        self._socket = socket
        self._slots = SlotRing(ring, umem.chunk_size, umem.memory)
        self._sent: list[Addrs] = []
        self._refused = -1, 0  # slot, how often
        self._requested = False  # there are slots that the kernel has not worked on

    @classmethod
    def open(cls, interface: str, umem: Umem, slots: int) -> PacketSender:
        """Make a ring of `slots`, a multiple of TX_SLOTS_PER_BLOCK."""
        size = slots * umem.chunk_size
        block = TX_SLOTS_PER_BLOCK * umem.chunk_size
        request = uapi.TPACKET_REQ.pack(block, size // block, umem.chunk_size, slots)
        with ExitStack() as undo:
            socket = PacketSocket(interface)
            undo.callback(socket.close)
            socket.set(uapi.PACKET_VNET_HDR, 1)
            socket.set(uapi.PACKET_QDISC_BYPASS, 1)
            socket.set(uapi.PACKET_LOSS, 1)  # drop what the device refuses, go on with the rest
            # All slots at once, each with the kernel's book-keeping.
            socket.set(SO_SNDBUFFORCE, 2 * size, sockets.SOL_SOCKET)
            ring = socket.map_ring(uapi.PACKET_TX_RING, uapi.TPACKET_V2, request, size)
            socket.bind(0)
            sender = cls(socket, ring, umem)
            undo.pop_all()
        return sender

    def transmit(self, descs: Descs) -> int:
        """Copy as many packets as there are free slots; their frames can be reclaimed at once."""
        if len(descs) == 0:
            return 0
        too_long = descs["len"] > self._slots.max_len
        if too_long.any():
            descs = descs.copy()
            descs["len"][too_long] = 0  # the kernel drops a packet without Ethernet header
        n = self._slots.submit(descs)
        self.counters["tx_full"] += len(descs) - n
        self.counters["tx_too_long"] += int(np.count_nonzero(too_long[:n]))
        if n:
            self._sent.append(descs["addr"][:n].copy())
            self._requested = True
        return n

    def use_compiled(self) -> None:
        """Load the compiled way into the slots, and take it from now on."""
        self._slots.use_compiled()

    def flush(self) -> None:
        """Make the kernel send; what a congested device does not take waits for the next time."""
        if not self._requested:
            return
        refusal = self._socket.send_requested()
        if refusal in _CONGESTED:
            self.counters["tx_congested"] += 1
            self._note_refusal()
        elif refusal in _DOWN:
            self.counters["tx_down"] += 1
        elif refusal:
            raise SystemCallError(
                f"send on {self._socket.interface}", refusal, errno.errorcode[refusal]
            )
        else:
            self._requested = False

    def _note_refusal(self) -> None:
        """Give up a packet that the device refuses again and again."""
        slot = self._slots.first_requested()
        last, times = self._refused
        times = times + 1 if slot == last else 1
        self._refused = slot, times % _REFUSALS_MAX
        if times == _REFUSALS_MAX:
            self._slots.void(slot)
            self.counters["tx_refused"] += 1

    def reclaim(self) -> Addrs:
        """Take back the frames whose packets have been copied."""
        if not self._sent:
            return np.empty(0, np.uint64)
        addrs = self._sent[0] if len(self._sent) == 1 else np.concatenate(self._sent)
        self._sent.clear()
        return addrs

    def held(self) -> int:
        """How many frames wait for `reclaim`."""
        return sum(len(addrs) for addrs in self._sent)

    def close(self) -> None:
        """Let the ring go; what has not been sent is lost. Harmless when repeated."""
        self._slots.close()
        self._socket.close()
