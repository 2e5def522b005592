"""The loop between the TUN device and the tunnel: at most BATCH packets a direction and turn."""

from __future__ import annotations

import os
import secrets
import selectors
from typing import TYPE_CHECKING, Final

from dstmrouter.dti.packet import (
    TCP_CHECKSUM_AT,
    check_outward,
    decapsulate,
    flow_label,
    is_ours,
    partial_checksum_at,
)
from dstmrouter.dti.tun import PLAIN, VNET, needs_checksum
from dstmrouter.dti.verdict import Verdict
from dstmrouter.errors import SystemCallError
from dstmrouter.protocols.granted import PORT_BITS

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from dstmrouter.dti.carrier import Carrier
    from dstmrouter.dti.counters import Counters
    from dstmrouter.protocols.granted import PortSet

BATCH: Final = 64  # packets before the other direction has its turn
PACKET_MAX: Final = 65535  # octets, RFC 791


def read_packet(tun: int, buffer: memoryview) -> memoryview | None:
    """The next packet that the host routed into the device, in `buffer`; None if there is none.

    Raises SystemCallError when the device is gone.
    """
    try:
        size = os.readv(tun, [buffer])
    except BlockingIOError:
        return None
    except OSError as error:  # EBADFD: somebody deleted the interface
        tried = "read from the tunnel interface"
        raise SystemCallError(tried, error.errno or 0, error.strerror or "") from error
    return buffer[VNET.size : size]


def packet_buffer() -> memoryview:
    """Room for the largest packet, behind its virtio header."""
    return memoryview(bytearray(VNET.size + PACKET_MAX))


class Pump:
    """Carry packets both ways; the TUN descriptor and the carrier stay the caller's.

    With `ports` nothing leaves that is not of them, even if the host's NAT is gone: an operator's
    `nft flush ruleset` takes it away, too.
    """

    def __init__(
        self,
        tun: int,
        carrier: Carrier,
        client4: IPv4Address,
        counters: Counters,
        ports: PortSet | None = None,
    ) -> None:
        self._tun = tun
        self._carrier = carrier
        self._client4 = client4.packed
        self._counters = counters
        self._ports = None if ports is None else _octet_per_port(ports)
        self._key = secrets.token_bytes(16)  # of the flow labels, RFC 6437 section 5
        self._buffer = packet_buffer()
        self._packet = self._buffer[VNET.size :]

    def run(self, stop: int) -> None:
        """Carry packets until the descriptor `stop` is readable."""
        with selectors.DefaultSelector() as ready:
            ready.register(stop, selectors.EVENT_READ)
            ready.register(self._tun, selectors.EVENT_READ, self.outward)
            ready.register(self._carrier.fileno(), selectors.EVENT_READ, self.inward)
            while True:
                for key, _ in ready.select():
                    if key.fd == stop:
                        return
                    key.data()

    def outward(self) -> None:
        """Send up to BATCH packets that the host routed into the device.

        Raises SystemCallError when the device is gone.
        """
        for _ in range(BATCH):
            packet = read_packet(self._tun, self._buffer)
            if packet is None:
                return
            self.send(packet)

    def send(self, packet: memoryview) -> None:
        """Send one packet, or count why not."""
        verdict = check_outward(packet, self._client4)
        if self._ports is not None and verdict is Verdict.OUT_SENT:
            verdict = verdict if is_ours(packet, self._ports) else Verdict.OUT_PORT
        if verdict is Verdict.OUT_SENT:
            verdict = self._carrier.send(packet, flow_label(packet, self._key))
        self._counters.count(verdict, len(packet))

    def inward(self) -> None:
        """Deliver up to BATCH packets that came through the tunnel."""
        for _ in range(BATCH):
            received = self._carrier.receive(self._packet)
            if received is None:
                return
            size, traffic_class, from_tep = received
            if not from_tep:
                self._counters.count(Verdict.IN_SOURCE, size)
                continue
            verdict, total_len = decapsulate(self._packet[:size], traffic_class, self._client4)
            if verdict in {Verdict.IN_DELIVERED, Verdict.IN_DELIVERED_ECN}:
                verdict = self._deliver(total_len, verdict)
            self._counters.count(verdict, total_len or size)

    def _deliver(self, total_len: int, verdict: Verdict) -> Verdict:
        start = partial_checksum_at(self._packet[:total_len])
        self._buffer[: VNET.size] = needs_checksum(start, TCP_CHECKSUM_AT) if start else PLAIN
        try:
            os.write(self._tun, self._buffer[: VNET.size + total_len])
        except OSError:  # EIO while the device is down, EINVAL for what the host finds malformed
            return Verdict.IN_REFUSED
        return verdict


def _octet_per_port(ports: PortSet) -> bytes:
    octets = bytearray(1 << PORT_BITS)
    for first, last in ports.ranges:
        octets[first : last + 1] = b"\1" * (last + 1 - first)
    return bytes(octets)
