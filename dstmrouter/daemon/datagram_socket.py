"""A UDP socket over IPv6 whose answers leave from the address that was asked.

A host has several addresses, and a client takes an answer only from the one it sent to. So each
datagram comes with its destination (IPV6_RECVPKTINFO, RFC 3542 section 6.1), which becomes the
source of the answer. Nothing is queued here: what the kernel does not take at once is lost, as
datagrams may be.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.daemon.stream_listener import bind_ipv6
from dstmrouter.daemon.tally import Tally

if TYPE_CHECKING:
    import collections
    from collections.abc import Callable

DATAGRAM_MAX: Final = 4096  # octets; DSTM calls have 1,036 at most
ANCILLARY_LEN: Final = socket.CMSG_SPACE(20)  # struct in6_pktinfo
TURN: Final = 64  # datagrams, before others of the process have their turn


class DatagramTally(Tally):
    """What became of datagrams."""

    RECEIVED = "datagrams", "UDP datagrams received"
    TOO_LONG = "datagrams-too-long", f"over {DATAGRAM_MAX} octets, dropped"
    UNSENT = "datagrams-unsent", "answers that the kernel did not take, dropped"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """What came, from whom, and the way back."""

    octets: bytes
    address: IPv6Address
    port: int
    reply: Callable[[bytes], None]


class DatagramSocket:
    """Calls `received` for each datagram between `start` and `close`.

    Bound when it is made; SystemCallError if it cannot be.
    """

    def __init__(
        self,
        address: IPv6Address,
        port: int,
        received: Callable[[Datagram], None],
        *,
        counts: collections.Counter[Tally],
    ) -> None:
        self._received = received
        self._counts = counts
        self._socket = bind_ipv6(socket.SOCK_DGRAM, address, port)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """The port it is bound to."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to receive, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive)

    def close(self) -> None:
        """End; a second call does nothing."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop = None
        self._socket.close()

    def _receive(self) -> None:
        for _ in range(TURN):
            try:
                octets, ancillary, flags, name = self._socket.recvmsg(DATAGRAM_MAX, ANCILLARY_LEN)
            except OSError:  # nothing more, or the kernel is short of memory
                return
            self._counts[DatagramTally.RECEIVED] += 1
            if flags & socket.MSG_TRUNC:
                self._counts[DatagramTally.TOO_LONG] += 1
                continue
            self._received(self._datagram(octets, ancillary, name))
            if self._loop is None:
                return  # closed meanwhile

    def _datagram(self, octets: bytes, ancillary: list[Any], name: tuple[Any, ...]) -> Datagram:
        def reply(answer: bytes) -> None:
            try:
                self._socket.sendmsg([answer], ancillary, 0, name)
            except OSError:  # full, unreachable, closed, or our address has gone
                self._counts[DatagramTally.UNSENT] += 1

        return Datagram(octets=octets, address=IPv6Address(name[0]), port=name[1], reply=reply)
