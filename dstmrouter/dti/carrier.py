"""IPv4 packets in IPv6 through a raw socket of protocol 4 (RFC 2473; IPPROTO_IPIP).

The kernel does what it does for any IPv6 packet: source address check, routes, neighbours, path
MTU, fragmentation and reassembly. It takes extension headers off before a raw socket sees the
packet, so destination options (the encapsulation limit) are accepted; and as long as a raw socket
wants a packet, the host does not answer it with an ICMPv6 parameter problem.

The socket is not connected: a connected one would leave packets of strangers to the kernel, which
answers each with a parameter problem and counts nothing of ours (RFC 7596 section 5.2).
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from dstmrouter.dti.verdict import Verdict
from dstmrouter.errors import asking_kernel

if TYPE_CHECKING:
    from ipaddress import IPv6Address

IPPROTO_IPIP: Final = 4
IPV6_FLOWINFO_SEND: Final = 33  # linux/in6.h: the flow label of the destination address is used
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
HOP_LIMIT: Final = 64  # RFC 2473 section 6.3
QUEUE_LEN: Final = 4 << 20  # octets; a TCP window of a fast path, where the default holds 200 KB
ANCILLARY_LEN: Final = socket.CMSG_SPACE(4)
TCLASS: Final = struct.Struct("=i")


class Carrier:
    """The tunnel from `client6` to `tep6`; one packet per call, never blocks."""

    def __init__(
        self, client6: IPv6Address, tep6: IPv6Address, interface: str | None = None
    ) -> None:
        self._tep6 = socket.inet_ntop(socket.AF_INET6, tep6.packed)  # as recvmsg writes it
        self._traffic_class = 0
        with ExitStack() as undo:
            with asking_kernel(f"open the tunnel {client6} to {tep6}"):
                sock = undo.enter_context(
                    socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPIP)
                )
                _prepare(sock, interface)
                sock.bind((str(client6), 0))
            undo.pop_all()
        self._sock = sock

    def fileno(self) -> int:
        """File descriptor to poll."""
        return self._sock.fileno()

    def send(self, packet: memoryview, label: int) -> Verdict:
        """Send one IPv4 packet; its TOS octet becomes the traffic class."""
        try:
            if packet[1] != self._traffic_class:
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, packet[1])
                self._traffic_class = packet[1]
            self._sock.sendto(packet, (self._tep6, 0, label, 0))
        except OSError as error:
            full = error.errno in {errno.EAGAIN, errno.ENOBUFS}
            return Verdict.OUT_QUEUE_FULL if full else Verdict.OUT_REFUSED
        return Verdict.OUT_SENT

    def receive(self, into: memoryview) -> tuple[int, int, bool] | None:
        """Take one packet: octets, traffic class, whether tep6 sent it; None if none waits."""
        try:
            size, ancillary, _, source = self._sock.recvmsg_into([into], ANCILLARY_LEN)
        except BlockingIOError:
            return None
        (traffic_class,) = TCLASS.unpack(ancillary[0][2]) if ancillary else (0,)
        return size, traffic_class, source[0] == self._tep6

    def close(self) -> None:
        """Close; harmless when repeated."""
        self._sock.close()


def _prepare(sock: socket.socket, interface: str | None) -> None:
    sock.setblocking(False)
    if interface is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, QUEUE_LEN)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_LEN)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1)
