"""UDP flows through a gateway without any client program: raw sockets at both ends.

A client is a raw IPv6 socket for protocol 4, which sees what the gateway encapsulated and sends
what it is to decapsulate. Every packet carries its flow and a number, so that losses are counted
and not guessed.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, Self

from lab.netns import wait_until
from lab.topology import CLIENT1, HOST4, TEP6
from tests.io.frames import ones_complement
from tests.netns.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace
    from lab.topology import Topology

PORT: Final = 4711
ETH_P_IP: Final = 0x0800
IPPROTO_IPIP: Final = 4
NUMBER: Final = struct.Struct("!I")


def udp4(src: str, dst: str, sport: int, payload: bytes) -> bytes:
    """An IPv4 packet with UDP, without its optional checksum."""
    ends = IPv4Address(src).packed + IPv4Address(dst).packed
    udp = struct.pack("!HHHH", sport, PORT, 8 + len(payload), 0) + payload

    def header(checksum: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, checksum) + ends

    return header(ones_complement(header(0))) + udp


class Client(Listener):
    """The tunnel end of a client: collects the numbers of every flow that comes to it."""

    def __init__(self, space: Namespace, client6: str = CLIENT1) -> None:
        with space.entered():
            super().__init__(socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPIP))
        self.socket.bind((client6, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.got: dict[int, list[int]] = {}
        """Numbers received, by the UDP source port of their flow, in order."""

    def send(self, ipv4: str, dst: str, number: int, sport: int = PORT) -> None:
        """Send one UDP packet through the tunnel."""
        packet = udp4(ipv4, dst, sport, NUMBER.pack(number))
        self.socket.sendto(packet, (TEP6, 0))

    def heard(self, packet: bytes) -> None:
        sport = int.from_bytes(packet[20:22], "big")
        self.got.setdefault(sport, []).append(NUMBER.unpack(packet[28:32])[0])


class Flow:
    """UDP from host4 to a lent address, from one source port, so through one queue."""

    def __init__(self, lab: Topology, ipv4: str, client: Client) -> None:
        with lab.host4.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST4, 0))
        self._socket.connect((ipv4, PORT))
        self._sport = self._socket.getsockname()[1]
        self._numbers = itertools.count()
        self._client = client
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def got(self) -> list[int]:
        """Numbers that reached the client, in order."""
        return self._client.got.get(self._sport, [])

    def send(self) -> int:
        """Send the next packet; returns its number."""
        number = next(self._numbers)
        with contextlib.suppress(ConnectionRefusedError, PermissionError):  # an ICMP error came
            self._socket.send(NUMBER.pack(number))
        self.sent = number + 1
        return number

    def passes(self) -> bool:
        """Send one packet; whether any sent from now on has arrived."""
        before = len(self.got)
        self.send()
        with contextlib.suppress(Exception):
            wait_until(lambda: len(self.got) > before, "a packet", 0.05)
        return len(self.got) > before

    @contextlib.contextmanager
    def running(self, rate: float = 500) -> Iterator[None]:
        """Send `rate` packets a second during the block."""
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(1 / rate):
                self.send()

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
