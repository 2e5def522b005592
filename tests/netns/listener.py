"""A socket that is listened to in a thread."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import socket

POLL_S: Final = 0.05  # how soon the thread sees that it is to end
LONGEST: Final = 1 << 16  # octets of a packet


class Listener:
    """Hands every packet that the socket receives to `heard`; a context manager that closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(POLL_S)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def heard(self, packet: bytes) -> None:
        """What a kind of listener does with a packet."""
        raise NotImplementedError

    def _listen(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                self.heard(self.socket.recv(LONGEST))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.socket.close()
