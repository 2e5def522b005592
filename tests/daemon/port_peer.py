"""The far side of a client with a port set: echoes over TCP and UDP, and a look at its packets."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lab.netns import Namespace

PORT = 4711
IPPROTO_IPIP = 4
POLL_S = 0.05  # how soon threads see that they are to end
PIECE_LEN = 2000
QUEUE_LEN = 4 << 20
SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class PortPeer:
    """In a gateway's namespace, whose tunnel end has `address`; a context manager."""

    def __init__(self, space: Namespace, address: str) -> None:
        with space.entered():
            self._tap = socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPIP)
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._server = socket.create_server((address, PORT), backlog=500)
        self._tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_LEN)
        self._udp.bind((address, PORT))
        self._connections: list[socket.socket] = []
        self._ended = threading.Event()
        works = (self._look, self._echo_datagram, self._accept, self._echo_streams)
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]
        self.seen: dict[int, set[tuple[str, int]]] = {}
        """By protocol: source address, and source port or ICMP identifier, of what came out."""

    def _repeat(self, work: object) -> None:
        assert callable(work)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError, BlockingIOError):
                work()

    def _look(self) -> None:
        packet = self._tap.recv(PIECE_LEN)
        at = 24 if packet[9] == socket.IPPROTO_ICMP else 20
        port = int.from_bytes(packet[at : at + 2], "big")
        source = socket.inet_ntoa(packet[12:16])
        self.seen.setdefault(packet[9], set()).add((source, port))

    def _echo_datagram(self) -> None:
        self._udp.sendto(*self._udp.recvfrom(PIECE_LEN))

    def _accept(self) -> None:
        connection, _ = self._server.accept()
        connection.setblocking(False)
        self._connections.append(connection)

    def _echo_streams(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                data = connection.recv(PIECE_LEN)
                if data:
                    connection.sendall(data)
                else:
                    self._connections.remove(connection)
                    connection.close()
        self._ended.wait(POLL_S / 10)

    def __enter__(self) -> Self:
        for sock in (self._tap, self._udp, self._server):
            sock.settimeout(POLL_S)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for sock in (self._tap, self._udp, self._server, *self._connections):
            sock.close()
