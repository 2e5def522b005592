"""One TCP connection of a client, with TLS or without: octets in, octets out, both limited.

An `asyncio.Protocol` of our own and not a pair of streams, because a dialogue is many short
messages: a wait costs one future, and deadlines cost one timer for the whole connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dstmrouter.daemon.stream_transport import READ_LEN
from dstmrouter.daemon.tally import Tally

if TYPE_CHECKING:
    import collections
    from ipaddress import IPv6Address

SEND_S: Final = 10.0  # as long as TCP retransmits three times
_BUFFER: Final = memoryview(bytearray(READ_LEN))
"""What asyncio reads into, and is copied before it reads the next: one is enough for all."""


class StreamTally(Tally):
    """What became of connections."""

    OPENED = "connections", "TCP connections accepted"
    REFUSED_TOTAL = "connections-over-total", "closed at once: as many as allowed are open"
    REFUSED_SOURCE = "connections-over-source", "closed at once: too many from this /64"
    REFUSED_RATE = "connections-over-rate", "closed at once: this /64 asks too often"
    NO_TLS = "connections-without-tls", "closed: the TLS handshake failed"
    IDLE = "connections-idle", "closed: no complete request in time"
    SLOW = "connections-slow", "closed: did not take an answer in time"
    BROKEN = "connections-broken", "reset by the peer or the network"
    FAILED = "connections-failed", "ended through our own fault; the log has more"


class Peer(NamedTuple):
    """Who has connected."""

    address: IPv6Address
    port: int


class PeerDroppedError(ConnectionError):
    """We do not wait for this peer any longer; it is counted already."""


class Connection(asyncio.BufferedProtocol):
    """One peer; `receive` and `send` raise ConnectionError when it is gone, or to be dropped.

    `deadline` is when it must have sent something, in seconds of the monotonic clock. Made inside
    the event loop; of use once it is the protocol of a transport.
    """

    def __init__(self, peer: Peer, counts: collections.Counter[Tally]) -> None:
        self.address, self.port = peer
        self.deadline: float | None = None
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._secured = False  # by TLS
        self._octets = b""
        self._paused = False  # reading, because there is more than somebody has asked for
        self._ended = False  # nothing will be received any more
        self._gone = False  # the transport is closed
        self._error: Exception | None = None
        self._received: asyncio.Future[None] | None = None  # whoever waits in `receive`
        self._sent: asyncio.Future[None] | None = None  # there while the kernel takes no more
        self._lost: asyncio.Future[None] | None = None  # whoever waits in `close`
        self._timer: asyncio.TimerHandle | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """What carries the octets."""
        assert self._transport is not None, "not connected yet"
        return self._transport

    @property
    def certificate(self) -> dict[str, Any]:
        """What the peer's certificate says, as `SSLSocket.getpeercert`; empty without one."""
        return self.transport.get_extra_info("peercert") or {}

    async def receive(self, limit: int = READ_LEN) -> bytes:
        """The next octets, at most `limit`; none: the peer has sent everything."""
        if self._octets or self._ended:
            await asyncio.sleep(0)  # read without waiting: others must run too
        else:
            self._received = self._loop.create_future()
            self._watch()
            try:
                await self._received
            finally:
                self._received = None
        if self._error is not None:
            raise self._error
        octets, self._octets = self._octets[:limit], self._octets[limit:]
        if self._paused and not self._octets:
            self._paused = False
            self.transport.resume_reading()
        return octets

    async def send(self, octets: bytes) -> None:
        """Return when the kernel has taken `octets`."""
        if self._error is not None:
            raise self._error
        self.transport.write(octets)
        if self._sent is None:
            return
        try:
            async with asyncio.timeout(SEND_S):
                await self._sent
        except TimeoutError:
            self._counts[StreamTally.SLOW] += 1
            raise PeerDroppedError from None

    def abort(self) -> None:
        """Close at once; what the kernel does not have yet is lost."""
        self.transport.abort()

    async def close(self) -> None:
        """Close in order: the kernel still delivers what it has."""
        transport = self.transport
        transport.close()
        if not self._gone and (self._secured or transport.get_write_buffer_size()):
            self._lost = self._loop.create_future()
            with contextlib.suppress(TimeoutError):  # a peer that does not end its TLS
                async with asyncio.timeout(SEND_S):
                    await self._lost
        if self._error is not None:
            raise self._error

    def _watch(self) -> None:
        """See to it that the timer ends no later than the deadline; a later one finds it so."""
        deadline = self.deadline
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._received is None or self._received.done() or self.deadline is None:
            return
        if self.deadline > self._loop.time():
            self._watch()
            return
        self._counts[StreamTally.IDLE] += 1
        self._received.set_exception(PeerDroppedError())

    # What transports call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the way out."""
        self._transport = transport
        self._secured = transport.get_extra_info("sslcontext") is not None
        # `send` returns when the kernel has it all: nothing piles up for who does not read.
        transport.set_write_buffer_limits(high=1)  # with 0, TLS of asyncio never resumes writing

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where to read into."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.take(_BUFFER[:nbytes].tobytes())

    def take(self, octets: bytes) -> None:
        """Keep octets until somebody asks for them, and read no more before that."""
        if self._octets:
            octets = self._octets + octets
            if not self._paused:
                self._paused = True
                self.transport.pause_reading()
        self._octets = octets
        self._wake()

    def eof_received(self) -> bool:
        """Note that there is no more to come; without TLS we may go on sending."""
        self._ended = True
        self._wake()
        return not self._secured

    def connection_lost(self, exc: Exception | None) -> None:
        """End every wait."""
        self._ended = self._gone = True
        self._error = exc
        if self._timer is not None:
            self._timer.cancel()
        self._wake()
        self.resume_writing()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._sent = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let senders go on."""
        sent, self._sent = self._sent, None
        if sent is not None and not sent.done():
            sent.set_result(None)

    def _wake(self) -> None:
        if self._received is not None and not self._received.done():
            self._received.set_result(None)
