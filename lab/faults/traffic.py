"""Numbered UDP datagrams from every client to host4 and back, all the time, through its tunnel."""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from lab.faults.network import CLIENTS, HOST4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.faults.network import Network

PORT: Final = 4711
PERIOD_S: Final = 0.02
DRAIN_S: Final = 2.0  # the longest that an echo may take
NUMBER: Final = struct.Struct("!I")


@dataclasses.dataclass(slots=True)
class Flow:
    """The datagrams of one client."""

    router: str
    socket: socket.socket
    sent_at: list[float] = dataclasses.field(default_factory=list)  # by number
    back: set[int] = dataclasses.field(default_factory=set)
    latest: float = 0.0  # when the newest that came back was sent

    def send(self) -> None:
        """Send the next one."""
        number = len(self.sent_at)
        self.sent_at.append(time.monotonic())
        with contextlib.suppress(OSError):  # no route, an ICMP error: it does not come back
            self.socket.send(NUMBER.pack(number))

    def receive(self) -> None:
        """Take one that came back."""
        with contextlib.suppress(OSError):
            (number,) = NUMBER.unpack(self.socket.recv(64))
            self.back.add(number)
            self.latest = max(self.latest, self.sent_at[number])


class Traffic:
    """All flows; a context manager that ends them. `addresses` are the clients' IPv4 addresses."""

    def __init__(self, network: Network, addresses: Mapping[str, str]) -> None:
        self._undo = contextlib.ExitStack()
        self._selector = self._undo.enter_context(selectors.DefaultSelector())
        for address in HOST4.values():
            with network["host4"].entered():
                echo = self._undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            echo.bind((address, PORT))
            self._selector.register(echo, selectors.EVENT_READ, None)
        self.flows: dict[str, Flow] = {}
        for client, router in CLIENTS.items():
            with network[client].entered():
                ours = self._undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            ours.bind((addresses[client], 0))
            ours.connect((HOST4[router], PORT))
            flow = self.flows[client] = Flow(router, ours)
            self._selector.register(ours, selectors.EVENT_READ, flow)
        self._ended = threading.Event()
        self._drained = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def passes_since(self, moment: float, router: str) -> bool:
        """Whether every flow through `router` has an echo back of what was sent after `moment`."""
        return all(flow.latest > moment for flow in self.flows.values() if flow.router == router)

    def lost(self) -> list[tuple[str, float]]:
        """Router and time of sending of everything that did not come back; for the end."""
        return [
            (flow.router, sent_at)
            for flow in self.flows.values()
            for number, sent_at in enumerate(flow.sent_at)
            if number not in flow.back
        ]

    def sent(self) -> int:
        """How many were sent."""
        return sum(len(flow.sent_at) for flow in self.flows.values())

    def finish(self) -> None:
        """Send no more, and wait for what is on its way; harmless when repeated."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            for flow in self.flows.values():
                flow.send()
            due = max(due + PERIOD_S, time.monotonic())  # a late one is not made up for
            self._receive_until(due)
        self._receive_until(time.monotonic() + DRAIN_S)

    def _receive_until(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.data is None:
                    _echo(key.fileobj)
                else:
                    key.data.receive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        self._undo.close()


def _echo(server: object) -> None:
    assert isinstance(server, socket.socket)
    with contextlib.suppress(OSError):
        datagram, sender = server.recvfrom(64)
        server.sendto(datagram, sender)
