"""A packet(7) socket on one Ethernet interface, with one ring mapped."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from typing import TYPE_CHECKING

from dstmrouter.errors import DstmError, SystemCallError
from dstmrouter.io.uapi_packet import ARPHRD_ETHER, SOL_PACKET, TPACKET_STATS_V3
from dstmrouter.io.uapi_packet import PACKET_STATISTICS as STATISTICS
from dstmrouter.io.uapi_packet import PACKET_VERSION as VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator


class PacketSocket:
    """Owns the socket and the mapping of its ring; nothing is received before `bind`."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._mapping: mmap.mmap | None = None
        with self._trying("socket(AF_PACKET)"):
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)

    def fileno(self) -> int:
        """File descriptor, or -1 when closed."""
        return self._sock.fileno()

    def set(self, option: int, value: int | bytes, level: int = SOL_PACKET) -> None:
        """Set a socket option; SystemCallError if the kernel refuses."""
        with self._trying(f"setsockopt({level}, {option})"):
            self._sock.setsockopt(level, option, value)

    def map_ring(self, option: int, version: int, request: bytes, size: int) -> mmap.mmap:
        """Make the ring that `request` describes (struct tpacket_req or _req3), `size` octets.

        Who holds views of the mapping must let them go before `close`.
        """
        self.set(VERSION, version)
        with self._trying(f"a ring of {size} octets"):
            self._sock.setsockopt(SOL_PACKET, option, request)
            self._mapping = mmap.mmap(self._sock.fileno(), size)
        return self._mapping

    def bind(self, protocol: int) -> None:
        """Begin with packets of this Ethernet type; 0 receives nothing but can send."""
        with self._trying("bind"):
            self._sock.bind((self.interface, protocol))
        kind = self._sock.getsockname()[3]
        if kind != ARPHRD_ETHER:
            raise DstmError(f"{self.interface} is no Ethernet interface (ARPHRD type {kind})")

    def send_requested(self) -> int:
        """Make the kernel send what the transmit ring requests; 0, or the errno of a refusal."""
        try:
            self._sock.send(b"")
        except OSError as refusal:
            return refusal.errno or 0
        return 0

    def clear_error(self) -> int:
        """Fetch the pending error (the interface went down), which else keeps poll(2) awake."""
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def statistics(self) -> tuple[int, int, int]:
        """Packets (drops included), drops, and freezes of a full ring since the last call."""
        raw = self._sock.getsockopt(SOL_PACKET, STATISTICS, TPACKET_STATS_V3.size)
        packets, drops, freezes = TPACKET_STATS_V3.unpack(raw)
        return packets, drops, freezes

    def close(self) -> None:
        """Unmap the ring and close the socket; harmless when repeated."""
        if self._mapping is not None:
            # A view may be left in the traceback of a failure; the mapping goes with it.
            with contextlib.suppress(BufferError):
                self._mapping.close()
        self._sock.close()

    @contextlib.contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            number = error.errno or 0
            raise SystemCallError(
                f"{what} on {self.interface}", number, os.strerror(number)
            ) from error
