"""Is the other end of the tunnel alive? Pings to tep4, from the leased address, through dti.

RFC 5572 section 4.6 has ICMPv6 echo for IPv6 in IPv4; this is its mirror image. Any packet that
comes through the tunnel is as good a sign as a reply.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dstmrouter.dti.echo import ECHO_REPLY, echo_request, echo_sequence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ipaddress import IPv4Address

SOL_RAW: Final = 255  # linux/socket.h
ICMP_FILTER: Final = 1  # linux/icmp.h: a bit for each type that is not wanted
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # linux/in.h: don't fragment
REPLY_LEN: Final = 256  # octets; ours has 28
SHORTEST_PAUSE: Final = 0.75  # of the interval, RFC 5572 section 4.6


class Prober:
    """Pings `tep4`; `received` tells how many packets the tunnel has delivered so far."""

    def __init__(
        self,
        client4: IPv4Address,
        tep4: IPv4Address,
        interface: str,
        *,
        reply_s: float,
        losses: int,
        received: Callable[[], Awaitable[int]],
    ) -> None:
        self._client4 = client4
        self._tep4 = tep4
        self._interface = interface
        self._reply_s = reply_s
        self._losses = losses
        self._received = received
        self._identifier = secrets.randbelow(1 << 16)
        self._sequence = 0
        self.packets = 0  # that we sent and got: no sign that anybody uses the tunnel

    async def answers(self) -> bool:
        """Whether one of the pings, of which all but the last may be lost, is answered."""
        for _ in range(self._losses):
            if await self._alive():
                return True
        return False

    async def watch(
        self, interval_s: float, report: Callable[[bool], None], *, silent: bool = False
    ) -> None:
        """Ping about every `interval_s`; report when the other end falls silent or comes back."""
        while True:
            await asyncio.sleep(interval_s * random.uniform(SHORTEST_PAUSE, 1))  # noqa: S311
            alive = await (self._alive() if silent else self.answers())
            if alive == silent:
                silent = not alive
                report(alive)

    async def _alive(self) -> bool:
        before = await self._received()
        return await self._ping() or await self._received() > before

    async def _ping(self) -> bool:
        self._sequence = (self._sequence + 1) & 0xFFFF
        try:
            with self._socket() as sock:
                request = echo_request(self._identifier, self._sequence)
                await asyncio.get_running_loop().sock_sendto(sock, request, (str(self._tep4), 0))
                self.packets += 1
                return await self._reply(sock)
        except OSError:  # the address or the interface is not there
            await asyncio.sleep(self._reply_s)
            return False

    async def _reply(self, sock: socket.socket) -> bool:
        """Whether it comes in time. If we did not get to run meanwhile, what is there counts."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sock, readable.set)
        try:
            async with asyncio.timeout(self._reply_s):
                while not self._has_come(sock):
                    readable.clear()
                    await readable.wait()
        except TimeoutError:
            return self._has_come(sock)
        finally:
            loop.remove_reader(sock)
        return True

    def _has_come(self, sock: socket.socket) -> bool:
        with suppress(BlockingIOError):
            while True:
                packet = sock.recv(REPLY_LEN)
                if echo_sequence(packet, self._identifier) == self._sequence:
                    self.packets += 1
                    return True
        return False

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        try:
            sock.setblocking(False)
            sock.setsockopt(
                SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << ECHO_REPLY) & 0xFFFFFFFF)
            )
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
            sock.bind((str(self._client4), 0))
        except OSError:
            sock.close()
            raise
        return sock
