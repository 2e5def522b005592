"""The packets of a TUN device in the event loop: carried, or kept while there is no lease."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from dstmrouter.dti.carrier import Carrier
from dstmrouter.dti.packet import readdress
from dstmrouter.dti.pump import BATCH, Pump, packet_buffer, read_packet
from dstmrouter.dti.verdict import Verdict
from dstmrouter.dti.waiting import WaitingRoom
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.dti.counters import Counters
    from dstmrouter.dti.tunnel import Tunnel


class Carrying:
    """Carries packets both ways between `tun` and the tunnel, from now until `stop`."""

    def __init__(
        self, tun: int, tunnel: Tunnel, counters: Counters, on_lost: Callable[[DstmError], None]
    ) -> None:
        self._tun = tun
        self._name = tunnel.name
        self._client4 = tunnel.client4.packed
        self._shared = tunnel.port_set is not None
        self._counters = counters
        self._on_lost = on_lost
        self._carrier = Carrier(tunnel.client6, tunnel.tep6, tunnel.interface)
        self._pump = Pump(tun, self._carrier, tunnel.client4, counters, tunnel.port_set)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(tun, self._turn, self._pump.outward)
        self._loop.add_reader(self._carrier.fileno(), self._turn, self._pump.inward)

    def send_late(self, packets: list[bytes]) -> None:
        """Send what the host wanted to send before it had this lease."""
        for packet in packets:
            late = bytearray(packet)
            if not readdress(late, self._client4):
                self._counters.count(Verdict.OUT_SOURCE, len(late))
            elif self._shared:
                self._send_through_nat(late)
            else:
                self._pump.send(memoryview(late))

    def stop(self) -> list[bytes]:
        """Carry no more; harmless when repeated."""
        self._loop.remove_reader(self._tun)
        if self._carrier.fileno() >= 0:
            self._loop.remove_reader(self._carrier.fileno())
        self._carrier.close()
        return []

    def _send_through_nat(self, packet: bytearray) -> None:
        """Send it from the host again: its port is the host's, not one of the set."""
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._name.encode())
            try:
                again.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
            except OSError:  # such as no route to it any more
                self._counters.count(Verdict.OUT_REFUSED, len(packet))

    def _turn(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DstmError as error:  # somebody deleted the interface
            self.stop()
            self._on_lost(error)


class Waiting:
    """Keeps the first packets of `tun`, and tells of each, from now until `stop`."""

    def __init__(
        self,
        tun: int,
        counters: Counters,
        on_packet: Callable[[], None],
        on_lost: Callable[[DstmError], None],
    ) -> None:
        self._tun = tun
        self._counters = counters
        self._on_packet = on_packet
        self._on_lost = on_lost
        self._room = WaitingRoom()
        self._buffer = packet_buffer()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(tun, self._collect)

    def stop(self) -> list[bytes]:
        """Collect no more; what is still worth sending."""
        self._loop.remove_reader(self._tun)
        return self._room.leave(time.monotonic())

    def _collect(self) -> None:
        try:
            for _ in range(BATCH):
                packet = read_packet(self._tun, self._buffer)
                if packet is None:
                    return
                self._admit(packet)
        except DstmError as error:  # somebody deleted the interface
            self.stop()
            self._on_lost(error)

    def _admit(self, packet: memoryview) -> None:
        verdict = self._room.admit(packet, time.monotonic())
        self._counters.count(verdict, len(packet))
        if verdict in {Verdict.OUT_WAITING, Verdict.OUT_NO_LEASE}:
            self._on_packet()
