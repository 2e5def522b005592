"""A client's connected UDP socket over IPv6, and what came in on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv6Address

WAITING_MAX: Final = 64  # datagrams that nobody has looked at yet; further ones are dropped


class Answers(asyncio.DatagramProtocol):
    """Keeps what comes for whoever waits; an error of the network, too."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[bytes | OSError] = asyncio.Queue(WAITING_MAX)

    async def next(self) -> bytes:
        """The next datagram; OSError for what ICMPv6 said, such as that nobody listens."""
        arrived = await self._arrived.get()
        if isinstance(arrived, OSError):
            raise arrived
        return arrived

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Keep a datagram."""
        with contextlib.suppress(asyncio.QueueFull):
            self._arrived.put_nowait(data)

    def error_received(self, error: Exception) -> None:
        """Keep an error."""
        if isinstance(error, OSError):
            with contextlib.suppress(asyncio.QueueFull):
                self._arrived.put_nowait(error)


async def open_datagrams(
    server: str, port: int, source: IPv6Address | None
) -> tuple[asyncio.DatagramTransport, Answers]:
    """A socket from `source` to `server`, address or name; OSError if there is none."""
    return await asyncio.get_running_loop().create_datagram_endpoint(
        Answers,
        local_addr=None if source is None else (str(source), 0),
        remote_addr=(server, port),
        family=socket.AF_INET6,
    )
