"""TCP under a `Connection` without TLS: what asyncio's own transport does, in fewer steps.

That one asks the kernel for names that nobody wants, and comes to its first octet by four turns of
the event loop. Connections live for a handful of messages here, and setting them up took a quarter
of what they cost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

    from dstmrouter.daemon.stream_connection import Connection

READ_LEN: Final = 4096


class SocketTransport(asyncio.Transport):
    """Carries the octets of `connection` over `accepted`, which becomes its own.

    `connection_lost` comes from within `close` and `abort` where nothing is left to be sent.
    """

    def __init__(self, accepted: socket.socket, connection: Connection) -> None:
        super().__init__({"socket": accepted})
        accepted.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._socket = accepted
        self._fd = accepted.fileno()
        self._connection = connection
        self._unsent = b""
        self._closing = False  # nothing is read any more, and the rest is sent
        self._ended = False
        connection.connection_made(self)
        self._loop.add_reader(self._fd, self._read)

    def is_closing(self) -> bool:
        """Whether it is closed, or will be when everything is sent."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Octets that the kernel does not have yet."""
        return len(self._unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing to set: writers wait whenever something is left."""

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Go on reading."""
        if not self._closing:
            self._loop.add_reader(self._fd, self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, or keep what the kernel does not take; nothing after the end."""
        if self._closing:
            return
        sent = 0 if self._unsent else self._send(data)
        if sent < len(data) and not self._ended:
            if not self._unsent:
                self._loop.add_writer(self._fd, self._write)
                self._connection.pause_writing()
            self._unsent += data[sent:]

    def close(self) -> None:
        """Read no more; end when everything is sent."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._fd)
        if not self._unsent:
            self._end(None)

    def abort(self) -> None:
        """End at once."""
        self._end(None)

    def _read(self) -> None:
        try:
            octets = self._socket.recv(READ_LEN)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if octets:
            self._connection.take(octets)
        else:
            self._loop.remove_reader(self._fd)
            if not self._connection.eof_received():
                self.close()

    def _write(self) -> None:
        self._unsent = self._unsent[self._send(self._unsent) :]
        if self._unsent or self._ended:
            return
        self._loop.remove_writer(self._fd)
        self._connection.resume_writing()
        if self._closing:
            self._end(None)

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """Octets that the kernel has taken; an error is the end."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._end(error)
            return 0

    def _end(self, error: OSError | None) -> None:
        if self._ended:
            return
        self._ended = self._closing = True
        self._loop.remove_reader(self._fd)
        if self._unsent:
            self._loop.remove_writer(self._fd)
        self._socket.close()
        self._connection.connection_lost(error)
